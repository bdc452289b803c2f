--[[
  Close a thread to new runs, because it is about to be deleted.

  KEYS[1]  thread   hash
  KEYS[2]  retired  set
  ARGV[1]  thread id

  Returns 1, or 0 when there is no such thread.
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[1], 'token') -- first, so that it works without memory too (renew.lua)
redis.call('HSET', KEYS[1], 'retired', 1)
redis.call('SADD', KEYS[2], ARGV[1])
return 1
