--[[
  Settle a webhook call: remove it, or make it due again.

  KEY  deliveries  sorted set
  KEY  delivery    hash
  ARG  job         job id
  ARG  lease_end   of the caller's lease on the call (take_deliveries.lua)
  ARG  after       ms until the next try; '' to remove the call

  Returns 1, or 0 without a change if another worker has taken the call since.
]]
-- with clock
local current = redis.call('ZSCORE', deliveries, job)
if not current or tonumber(current) ~= tonumber(lease_end) then return 0 end
if after == '' then
  redis.call('ZREM', deliveries, job)
  redis.call('DEL', delivery)
else
  redis.call('HINCRBY', delivery, 'tries', 1)
  redis.call('ZADD', deliveries, read_clock_ms() + tonumber(after), job)
end
return 1
