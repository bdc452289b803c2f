--[[
  Store one checkpoint with the channel values that are new in it, whole or not at all.

  KEYS[1]  index       sorted set
  KEYS[2]  records     hash
  KEYS[3]  references  hash
  KEYS[4]  values      hash
  KEYS[5]  namespaces  set
  KEYS[6]  run         hash
  KEYS[7]  runs        set, of those that stored something in the thread
  KEYS[8]  ran         sorted set
  ARGV[1]  fence       '' when no run writes (an update of the state from outside)
  ARGV[2]  running     the status of a run that somebody holds
  ARGV[3]  namespace
  ARGV[4]  checkpoint id
  ARGV[5]  record      the checkpoint and its metadata
  ARGV[6]  references  framed (wire.py): the run's id, the parent's id, the prefixes of fields that
                       build on ancestors (framed), then the field of each value it refers to
  ARGV[7]  run id      '' for none
  ARGV[8]  the member of ran
  ARGV[9…] field, value, … of the new channel values

  Returns 1, or 0 when the caller has been fenced off and nothing was written.
]]
-- with held
if not held(KEYS[6], ARGV[1], ARGV[2]) then return 0 end
for i = 9, #ARGV, 2 do redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
redis.call('HSET', KEYS[3], ARGV[4], ARGV[6])
redis.call('ZADD', KEYS[1], 0, ARGV[4])
redis.call('SADD', KEYS[5], ARGV[3])
if ARGV[7] ~= '' and redis.call('SADD', KEYS[7], ARGV[7]) == 1 then redis.call('ZADD', KEYS[8], 0, ARGV[8]) end
return 1
