--[[
  Request the cancel of a run. The field on the record is the truth; the first action, its reason and its time (ms) stay. The message
  on the holder's channel, if a worker holds the run, only saves time.
]]
local function note_cancel(record, job, action, control, reason, now_ms)
  redis.call('HDEL', record, 'unserved_since') -- first, so that it also works when Redis is out of memory (renew.lua)
  redis.call('HSETNX', record, 'cancel', action)
  redis.call('HSETNX', record, 'reason', reason)
  redis.call('HSETNX', record, 'cancel_at', now_ms)
  if control then redis.call('PUBLISH', control, job) end
end

