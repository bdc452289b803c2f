--[[
  Copy a thread's checkpoints to another thread, beside those that it has.

  KEY  checkpoint_runs         set, of the source: the runs that stored something in it
  KEY  target_namespaces       set
  KEY  target_checkpoint_runs  set
  KEY  runs_with_checkpoints                     sorted set
  KEYS families                index, records, references, values, writes of each namespace: a key of the source, then
                               the target's
  ARG  thread_id               of the target
  ARGS namespace_names         in the order of their keys
]]
local function copy_hash(source, target)
  if redis.call('EXISTS', target) == 0 then return redis.call('COPY', source, target) end
  local words = redis.call('HGETALL', source)
  for i = 1, #words, 2 do redis.call('HSET', target, words[i], words[i + 1]) end
end

-- Returns how many checkpoints the source has.
local function copy_families()
  local copied = 0
  for at = 1, #families, 10 do
    local ids = redis.call('ZRANGE', families[at], 0, -1)
    for _, id in ipairs(ids) do redis.call('ZADD', families[at + 1], 0, id) end
    copied = copied + #ids
    for pair = at + 2, at + 8, 2 do copy_hash(families[pair], families[pair + 1]) end
  end
  for _, name in ipairs(namespace_names) do redis.call('SADD', target_namespaces, name) end
  for _, run_id in ipairs(redis.call('SMEMBERS', checkpoint_runs)) do
    redis.call('SADD', target_checkpoint_runs, run_id)
    redis.call('ZADD', runs_with_checkpoints, 0, run_id .. '\0' .. thread_id)
  end
  return copied
end

