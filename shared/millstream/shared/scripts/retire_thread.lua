--[[
  Close a thread to new runs, because it is about to be deleted.

  KEYS[1]  thread  hash

  Returns 1, or 0 when there is no such thread.
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'retired', 1)
return 1
