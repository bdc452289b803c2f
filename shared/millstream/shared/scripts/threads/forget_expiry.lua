--[[
  Take a thread out of those that expire, unless it was used since the caller saw when it is due.

  KEY  expiring   sorted set
  ARG  thread_id
  ARG  due        ms, as the caller saw it

  Returns 1, or 0 when nothing changed.
]]
local current = redis.call('ZSCORE', expiring, thread_id)
if not current or tonumber(current) > tonumber(due) then return 0 end
return redis.call('ZREM', expiring, thread_id)
