--[[
  Take quota from several buckets: from each of them, or from none (GCRA).

  A bucket is stored as the time (µs) at which it is full again. A bucket that is full has no key.

  KEYS buckets    strings
  ARGS intervals  µs in which a bucket gains 1
  ARGS bursts     what a full bucket has
  ARGS amounts    what is taken; at most the burst

  Returns {1 if it was taken, else 0, and for each bucket what it has now, and the µs after which it has more:
  the amount if it was refused, else 1 more}.
]]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local reply, full_at, granted = {1}, {}, true
for i = 1, #buckets do
  local interval, burst, amount = tonumber(intervals[i]), tonumber(bursts[i]), tonumber(amounts[i])
  local until_full = math.max(tonumber(redis.call('GET', buckets[i]) or 0) - now, 0)
  -- After a change of the settings, or a step of the clock, the time may be further away than an empty bucket's.
  until_full = math.min(until_full, burst * interval)
  full_at[i] = until_full + amount * interval
  local lacking = full_at[i] - burst * interval
  if lacking > 0 then granted = false end
  reply[2 * i] = math.floor(burst - until_full / interval)
  reply[2 * i + 1] = math.max(lacking, 0)
end
if not granted then
  reply[1] = 0
  return reply
end
for i = 1, #buckets do
  local interval, burst = tonumber(intervals[i]), tonumber(bursts[i])
  local missing = full_at[i] / interval
  redis.call('SET', buckets[i], string.format('%.0f', now + full_at[i]), 'PX', math.ceil(full_at[i] / 1000) + 1)
  reply[2 * i] = math.floor(burst - missing)
  reply[2 * i + 1] = full_at[i] - (math.ceil(missing) - 1) * interval
end
return reply
