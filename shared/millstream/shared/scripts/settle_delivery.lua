--[[
  Settle a call of a webhook: it came to its end, or is due again.

  KEYS[1]  deliveries  sorted set
  KEYS[2]  delivery    hash
  ARGV[1]  job id
  ARGV[2]  score       of the taking, by which the caller holds it
  ARGV[3]  after       ms until the next try; '' is the end

  Returns 1, or 0 with nothing changed: somebody else has taken it since.
]]
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[2])
else
  local time = redis.call('TIME')
  redis.call('HINCRBY', KEYS[2], 'tries', 1)
  redis.call('ZADD', KEYS[1], math.floor(time[1] * 1000 + time[2] / 1000) + tonumber(ARGV[3]), ARGV[1])
end
return 1
