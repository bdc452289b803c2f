--[[
  Add what a task wrote before the next checkpoint.

  KEYS[1]  writes      hash
  KEYS[2]  namespaces  set
  KEYS[3]  run         hash
  ARGV[1]  fence       '' when no run writes
  ARGV[2]  running     the status of a run that somebody holds
  ARGV[3]  namespace
  ARGV[4]  checkpoint id
  ARGV[5]  entries     framed (wire.py): a run's id, a write, a run's id, a write, … Of two for one
                       place who reads decides, so that those of a run can be taken out again

  Returns 1, or 0 when the caller has been fenced off and nothing was written.
]]
if ARGV[1] ~= '' then
  local run = redis.call('HMGET', KEYS[3], 'fence', 'status', 'cancel')
  if run[1] ~= ARGV[1] or run[2] ~= ARGV[2] or run[3] == 'rollback' then return 0 end -- what is undone stays so
end
redis.call('HSET', KEYS[1], ARGV[4], (redis.call('HGET', KEYS[1], ARGV[4]) or '') .. ARGV[5])
redis.call('SADD', KEYS[2], ARGV[3])
return 1
