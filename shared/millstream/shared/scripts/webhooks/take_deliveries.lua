--[[
  Take calls of webhooks that are due: for so long they are the caller's.

  KEY  deliveries  sorted set
  ARG  limit       how many
  ARG  lease       ms

  Returns job id, score, …: the score names this taking to settle_delivery.lua.
]]
-- with clock
local now_ms = read_clock_ms()
local taken = {}
for _, job in ipairs(redis.call('ZRANGEBYSCORE', deliveries, '-inf', now_ms, 'LIMIT', 0, limit)) do
  local score = string.format('%.0f', now_ms + tonumber(lease))
  redis.call('ZADD', deliveries, score, job)
  taken[#taken + 1] = job
  taken[#taken + 1] = score
end
return taken
