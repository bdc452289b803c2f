-- Copy the checkpoints of namespaces, KEYS[first], … (to KEYS[last], or all): of each its five keys, one
-- of the source, then the target's. Returns how many checkpoints the source has.
local function copy_hash(source, target)
  if redis.call('EXISTS', target) == 0 then return redis.call('COPY', source, target) end
  local words = redis.call('HGETALL', source)
  for i = 1, #words, 2 do redis.call('HSET', target, words[i], words[i + 1]) end
end

local function copy_families(first, last)
  local copied = 0
  for at = first, last or #KEYS, 10 do
    local ids = redis.call('ZRANGE', KEYS[at], 0, -1)
    for _, id in ipairs(ids) do redis.call('ZADD', KEYS[at + 1], 0, id) end
    copied = copied + #ids
    for pair = at + 2, at + 8, 2 do copy_hash(KEYS[pair], KEYS[pair + 1]) end
  end
  return copied
end

local function copy_runs(source, target, ran, target_id)
  for _, run_id in ipairs(redis.call('SMEMBERS', source)) do
    redis.call('SADD', target, run_id)
    redis.call('ZADD', ran, 0, run_id .. '\0' .. target_id)
  end
end

