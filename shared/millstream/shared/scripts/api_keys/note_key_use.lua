--[[
  Note that an API key was used, unless a use was noted a short time ago.

  KEY  record    hash
  ARG  interval  µs between two notes

  Returns 1, or 0 without a change.
]]
-- with clock
if redis.call('EXISTS', record) == 0 then return 0 end -- HSET would create it again
local now_us = read_clock()
local before = tonumber(redis.call('HGET', record, 'last_used_at') or 0)
if tonumber(now_us) - before < tonumber(interval) then return 0 end
redis.call('HSET', record, 'last_used_at', now_us)
return 1
