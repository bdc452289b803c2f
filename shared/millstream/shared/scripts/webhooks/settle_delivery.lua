--[[
  Settle a call of a webhook: it came to its end, or is due again.

  KEY  deliveries  sorted set
  KEY  delivery    hash
  ARG  job         job id
  ARG  score       of the taking, by which the caller holds it
  ARG  after       ms until the next try; '' is the end

  Returns 1, or 0 with nothing changed: another worker has taken it since.
]]
-- with clock
local current = redis.call('ZSCORE', deliveries, job)
if not current or tonumber(current) ~= tonumber(score) then return 0 end
if after == '' then
  redis.call('ZREM', deliveries, job)
  redis.call('DEL', delivery)
else
  redis.call('HINCRBY', delivery, 'tries', 1)
  redis.call('ZADD', deliveries, read_clock_ms() + tonumber(after), job)
end
return 1
