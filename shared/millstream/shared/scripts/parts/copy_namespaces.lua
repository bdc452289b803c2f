--[[
  Copy all checkpoints and pending writes of a thread to another thread, and keep what the target has.

  KEY  checkpoint_runs         set: runs that stored checkpoints in the source
  KEY  target_namespaces       set
  KEY  target_checkpoint_runs  set
  KEY  runs_with_checkpoints   sorted set
  KEYS namespace_keys          index, records, references, values and writes of each namespace: each key of the source
                               is followed by the target's
  ARG  thread_id               of the target
  ARGS namespace_names         in the order of their keys
]]
local function copy_hash(source, target)
  if redis.call('EXISTS', target) == 0 then return redis.call('COPY', source, target) end
  local fields = redis.call('HGETALL', source)
  for i = 1, #fields, 2 do redis.call('HSET', target, fields[i], fields[i + 1]) end
end

-- Returns the number of checkpoints in the source.
local function copy_namespaces()
  local copied = 0
  for i = 1, #namespace_keys, 10 do
    local ids = redis.call('ZRANGE', namespace_keys[i], 0, -1)
    for _, id in ipairs(ids) do redis.call('ZADD', namespace_keys[i + 1], 0, id) end
    copied = copied + #ids
    for pair = i + 2, i + 8, 2 do copy_hash(namespace_keys[pair], namespace_keys[pair + 1]) end
  end
  for _, name in ipairs(namespace_names) do redis.call('SADD', target_namespaces, name) end
  for _, run_id in ipairs(redis.call('SMEMBERS', checkpoint_runs)) do
    redis.call('SADD', target_checkpoint_runs, run_id)
    redis.call('ZADD', runs_with_checkpoints, 0, run_id .. '\0' .. thread_id)
  end
  return copied
end

