--[[
  Lease due webhook calls to the caller.

  KEY  deliveries  sorted set
  ARG  limit       number of calls
  ARG  lease       ms

  Returns {job id, end of the lease in ms, …}; settle_delivery.lua checks that end.
]]
-- with clock
local now_ms = read_clock_ms()
local taken = {}
for _, job in ipairs(redis.call('ZRANGEBYSCORE', deliveries, '-inf', now_ms, 'LIMIT', 0, limit)) do
  local lease_end = string.format('%.0f', now_ms + tonumber(lease))
  redis.call('ZADD', deliveries, lease_end, job)
  taken[#taken + 1] = job
  taken[#taken + 1] = lease_end
end
return taken
