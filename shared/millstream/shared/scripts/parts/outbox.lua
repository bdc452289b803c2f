--[[
  Enqueue the webhook call of a run that ends, in the same step as its end: no end stays undelivered, and no call
  announces an end that did not happen.

  KEY  thread        hash
  KEY  deliveries    sorted set
  ARG  delivery_ttl  s
]]
local function note_delivery(record, delivery, job, now_us, now_ms, output)
  local webhook, spec, status, failure, created_at, started_at, attempt, reason = unpack(redis.call('HMGET', record,
    'webhook', 'spec', 'status', 'error', 'created_at', 'started_at', 'attempt', 'reason'))
  if not webhook then return end
  if not output or output == '' then output = redis.call('HGET', thread, 'values') or '' end
  redis.call('HSET', delivery, 'webhook', webhook, 'spec', spec, 'status', status, 'error', failure or '',
    'created_at', created_at, 'started_at', started_at or '', 'attempt', attempt, 'ended_at', now_us,
    'values', output, 'reason', reason or '', 'tries', 0)
  redis.call('EXPIRE', delivery, delivery_ttl)
  redis.call('ZADD', deliveries, now_ms, job)
end

