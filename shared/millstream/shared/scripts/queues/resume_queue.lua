--[[
  Resume a paused queue, and wake idle workers for its due runs.

  KEY  queue       sorted set
  KEY  wake        list
  KEY  paused      hash
  KEY  queues      set
  ARG  queue_name

  Returns 'resumed'; or without a change 'not_paused', or 'unknown' for an unknown queue.
]]
-- with clock
-- with wake
if redis.call('DEL', paused) == 0 then
  return redis.call('SISMEMBER', queues, queue_name) == 1 and 'not_paused' or 'unknown'
end
-- Workers that popped a wake-up during the pause got no run. As many as the list keeps:
local due = redis.call('ZRANGEBYSCORE', queue, '-inf', read_clock_ms(), 'LIMIT', 0, 1000)
redis.call('DEL', wake)
for _, job in ipairs(due) do push_wake(wake, job) end
return 'resumed'
