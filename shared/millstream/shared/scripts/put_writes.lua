--[[
  Add what a task wrote before the next checkpoint.

  KEYS[1]  writes      hash
  KEYS[2]  namespaces  set
  KEYS[3]  run         hash
  KEYS[4]  runs        set, of those that stored something in the thread
  KEYS[5]  ran         sorted set
  ARGV[1]  fence       '' when no run writes
  ARGV[2]  running     the status of a run that somebody holds
  ARGV[3]  namespace
  ARGV[4]  checkpoint id
  ARGV[5]  entries     framed (wire.py): a run's id, a write, a run's id, a write, … Of two for one
                       place who reads decides, so that those of a run can be taken out again
  ARGV[6]  run id      '' for none
  ARGV[7]  the member of ran

  Returns 1, or 0 when the caller has been fenced off and nothing was written.
]]
-- with held
if not held(KEYS[3], ARGV[1], ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[4], (redis.call('HGET', KEYS[1], ARGV[4]) or '') .. ARGV[5])
redis.call('SADD', KEYS[2], ARGV[3])
if ARGV[6] ~= '' and redis.call('SADD', KEYS[4], ARGV[6]) == 1 then redis.call('ZADD', KEYS[5], 0, ARGV[7]) end
return 1
