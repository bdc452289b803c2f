--[[
  Remove a thread's expiry, unless the thread was used since the caller read when it is due.

  KEY  expiring   sorted set
  ARG  thread_id
  ARG  due        ms, as the caller read it

  Returns 1, or 0 without a change.
]]
local current = redis.call('ZSCORE', expiring, thread_id)
if not current or tonumber(current) > tonumber(due) then return 0 end
return redis.call('ZREM', expiring, thread_id)
