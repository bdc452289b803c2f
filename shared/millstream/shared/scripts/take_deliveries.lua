--[[
  Take calls of webhooks that are due: for so long they are the caller's.

  KEYS[1]  deliveries  sorted set
  ARGV[1]  most        how many
  ARGV[2]  lease       ms

  Returns job id, score, …: the score names this taking to settle_delivery.lua.
]]
local time = redis.call('TIME')
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)
local taken = {}
for _, job in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms, 'LIMIT', 0, ARGV[1])) do
  local score = string.format('%.0f', now_ms + tonumber(ARGV[2]))
  redis.call('ZADD', KEYS[1], score, job)
  taken[#taken + 1] = job
  taken[#taken + 1] = score
end
return taken
