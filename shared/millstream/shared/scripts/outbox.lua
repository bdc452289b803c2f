-- Part of the scripts that say `with outbox`: the end of a run that has a webhook is noted with that end, in
-- one step, so that no end goes untold and nothing is told that did not come.
local function note_delivery(run, thread, deliveries, delivery, job, now_us, now_ms, ttl, output)
  local told = redis.call('HMGET', run, 'webhook', 'spec', 'status', 'error', 'created_at', 'started_at', 'attempt',
    'reason')
  if not told[1] then return end
  if not output or output == '' then output = redis.call('HGET', thread, 'values') or '' end
  redis.call('HSET', delivery, 'webhook', told[1], 'spec', told[2], 'status', told[3], 'error', told[4] or '',
    'created_at', told[5], 'started_at', told[6] or '', 'attempt', told[7], 'ended_at', now_us, 'values', output,
    'reason', told[8] or '', 'tries', 0)
  redis.call('EXPIRE', delivery, ttl)
  redis.call('ZADD', deliveries, now_ms, job)
end
