--[[
  Store one checkpoint with the channel values that are new in it, whole or not at all.

  KEYS[1]  index       sorted set
  KEYS[2]  records     hash
  KEYS[3]  references  hash
  KEYS[4]  values      hash
  KEYS[5]  namespaces  set
  KEYS[6]  run         hash
  ARGV[1]  fence       '' when no run writes (an update of the state from outside)
  ARGV[2]  running     the status of a run that somebody holds
  ARGV[3]  namespace
  ARGV[4]  checkpoint id
  ARGV[5]  record      the checkpoint, its metadata and its parent
  ARGV[6]  references  framed (wire.py): the run's id, then the field of each value it refers to
  ARGV[7…] field, value, … of the new channel values

  Returns 1, or 0 when the caller has been fenced off and nothing was written.
]]
if ARGV[1] ~= '' then
  local run = redis.call('HMGET', KEYS[6], 'fence', 'status', 'cancel')
  if run[1] ~= ARGV[1] or run[2] ~= ARGV[2] or run[3] == 'rollback' then return 0 end -- what is undone stays so
end
for i = 7, #ARGV, 2 do redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
redis.call('HSET', KEYS[3], ARGV[4], ARGV[6])
redis.call('ZADD', KEYS[1], 0, ARGV[4])
redis.call('SADD', KEYS[5], ARGV[3])
return 1
