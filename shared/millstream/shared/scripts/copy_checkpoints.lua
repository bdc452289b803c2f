--[[
  Copy all checkpoints and pending writes of a thread to another, beside those that it has.

  KEYS[1]  namespaces  set, of the source
  KEYS[2]  namespaces  set, of the target
  KEYS[3]  runs        set, of the source: those that stored something in it
  KEYS[4]  runs        set, of the target
  KEYS[5]  ran         sorted set
  KEYS[6]  run         hash
  KEYS[7…] index, records, references, values, writes of each namespace: a key of the source, then
           the target's
  ARGV[1]  fence       of the run that does it; '' when no run does
  ARGV[2]  running     the status of a run that somebody holds
  ARGV[3]  thread id   of the target
  ARGV[4…] the namespaces in the order of their keys

  Returns how many checkpoints the source has, -1 when the caller has been fenced off, -2 when the
  source has other namespaces than the caller named; then nothing was changed.
]]
-- with held
-- with same_namespaces
if not held(KEYS[6], ARGV[1], ARGV[2]) then return -1 end
if not same_namespaces(KEYS[1], 4) then return -2 end

local function copy(source, target)
  if redis.call('EXISTS', target) == 0 then return redis.call('COPY', source, target) end
  local pairs_ = redis.call('HGETALL', source)
  for i = 1, #pairs_, 2 do redis.call('HSET', target, pairs_[i], pairs_[i + 1]) end
end

local copied = 0
for at = 7, #KEYS, 10 do
  local ids = redis.call('ZRANGE', KEYS[at], 0, -1)
  for _, id in ipairs(ids) do redis.call('ZADD', KEYS[at + 1], 0, id) end
  copied = copied + #ids
  for pair = at + 2, at + 8, 2 do copy(KEYS[pair], KEYS[pair + 1]) end
end
for i = 4, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
for _, run_id in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  redis.call('SADD', KEYS[4], run_id)
  redis.call('ZADD', KEYS[5], 0, run_id .. '\0' .. ARGV[3])
end
return copied
