--[[
  Remove runs that have ended from the live runs of their identities. Only a worker of an earlier version, or a loss of
  data, leaves them there.

  KEY  live        set
  KEY  identities  sorted set
  ARGS members     of `identities`

  Returns the number of members that were removed.
]]
local removed = 0
for _, member in ipairs(members) do
  local job = member:match('/(.+)$') or ''
  if redis.call('SISMEMBER', live, job) == 0 then removed = removed + redis.call('ZREM', identities, member) end
end
return removed
