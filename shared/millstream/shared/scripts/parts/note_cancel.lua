--[[
  Ask for the end of a run. The flag on the record is the truth, and the first action and its reason stay; the publish
  on the holder's channel, if there is a holder, is only for speed.
]]
local function note_cancel(record, job, action, control, reason)
  redis.call('HDEL', record, 'unserved_since') -- first, so that it works without memory too (renew.lua)
  redis.call('HSETNX', record, 'cancel', action)
  redis.call('HSETNX', record, 'reason', reason)
  if control then redis.call('PUBLISH', control, job) end
end

