--[[
  Give a tag to runs that became due without one (parts/fair_queue.lua): deferred runs, runs that no worker could
  execute, and runs that a process of an earlier version queued. A run whose lease has lapsed gets none: it is claimed
  before all runs with a tag, in the order of the leases' ends.

  KEY  queue          sorted set
  KEYS records        hash, of each run
  ARG  pending        status of a run that no worker holds
  ARG  default_share  `share` of a run whose record has none
  ARGS jobs           job ids, in the order of `records`

  Returns the number of runs that got a tag.
]]
-- with clock
-- with fair_queue
local now_ms = read_clock_ms()
local number = 0
for i, job in ipairs(jobs) do
  local due = tonumber(redis.call('ZSCORE', queue, job) or '')
  local status, fence, share, unserved_since =
    unpack(redis.call('HMGET', records[i], 'status', 'fence', 'share', 'unserved_since'))
  if due and due >= 0 and due <= now_ms and status == pending then
    enqueue(queue, job, share or default_share, now_ms, fence ~= '0' or unserved_since)
    number = number + 1
  end
end
return number
