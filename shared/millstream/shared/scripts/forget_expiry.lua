--[[
  Take a thread out of those that expire, unless it was used since the caller saw when it is due.

  KEYS[1]  expiring  sorted set
  ARGV[1]  thread id
  ARGV[2]  due       ms, as the caller saw it

  Returns 1, or 0 when nothing changed.
]]
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or tonumber(due) > tonumber(ARGV[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
