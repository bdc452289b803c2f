--[[
  Pause a queue: it gives no run to a worker until it is resumed. Runs that a worker holds continue, and runs are
  admitted and cancelled as before.

  KEY  paused      hash
  KEY  queues      set
  ARG  queue_name
  ARG  by          the user that pauses it, '' if unknown
  ARG  reason      '' for none

  Returns {time of the pause in µs, by, reason}: of this pause, or of an earlier one, which stays as it is.
          nil without a change if the queue is unknown.
]]
-- with clock
if redis.call('EXISTS', paused) == 0 then
  if redis.call('SISMEMBER', queues, queue_name) == 0 then return false end
  redis.call('HSET', paused, 'at', (read_clock()), 'by', by, 'reason', reason)
end
return redis.call('HMGET', paused, 'at', 'by', 'reason')
