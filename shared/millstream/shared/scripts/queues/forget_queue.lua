--[[
  Remove a queue from the list of queues if nothing needs it: it has no jobs and no workers, is not paused, and gets the
  runs of no graph. An assistant named it, and its runs have ended.

  KEY  queue          sorted set
  KEY  queue_workers  sorted set
  KEY  paused         hash
  KEY  routes         hash
  KEY  queues         set
  ARG  queue_name

  Returns 1, or 0 without a change.
]]
if redis.call('ZCARD', queue) > 0 or redis.call('ZCARD', queue_workers) > 0
  or redis.call('EXISTS', paused) == 1 then return 0 end
for _, route in ipairs(redis.call('HVALS', routes)) do
  if route == queue_name then return 0 end
end
return redis.call('SREM', queues, queue_name)
