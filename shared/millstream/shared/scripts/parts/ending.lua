--[[
  What the end of a run writes, whichever script ends it. The caller has checked that it may end, and has taken it out
  of the queue and out of its thread's places.

  KEY  thread      hash
  KEY  runs        sorted set
  KEY  waiting     list
  KEY  deferred    sorted set
  KEY  segments       sorted set, and the name of the thread's doorbell
  KEY  rolled_back      set
  KEY  live        set
  KEY  garbage     sorted set
  KEY  expiring    sorted set
  ARG  events_ttl  s after the end
]]
-- with outbox
-- with sequence
-- with expiry
-- `ended` is what a run_ref names (run_ref.lua): job, record, events, delivery. `ending` holds status, error and output
-- (JSON, '' for none), events (event name, JSON data, … to append before the end; nil for none), after (sequence.lua),
-- forget (whether the record goes too), now_us, now_ms.
local function end_run(ended, ending)
  local thread_id, id = ended.job:match('^([^/]+)/(.+)$')
  local temporary, config_before, reason =
    unpack(redis.call('HMGET', ended.record, 'temporary', 'config_before', 'reason'))
  redis.call('HSET', ended.record, 'status', ending.status, 'updated_at', ending.now_us)
  if ending.error ~= '' then redis.call('HSET', ended.record, 'error', ending.error) end
  local next_id = ids_of(ended.record, id, ending.after)
  local events = ending.events
  if events then
    for i = 1, #events, 2 do redis.call('XADD', ended.events, next_id(), events[i], events[i + 1]) end
  end
  local last = {'end', '{"status":"' .. ending.status .. '"}', 'output', ending.output, 'at', ending.now_ms}
  if reason then -- it was cancelled
    last[7], last[8] = 'reason', reason
  end
  redis.call('XADD', ended.events, next_id(), unpack(last))
  redis.call('EXPIRE', ended.events, events_ttl)
  redis.call('PUBLISH', ended.events, '')
  redis.call('SREM', live, ended.job)

  if redis.call('EXISTS', thread) == 0 then redis.call('DEL', segments) end -- its thread was lost
  note_delivery(ended.record, ended.delivery, ended.job, ending.now_us, ending.now_ms,
    ending.error == '' and ending.output or '')
  if ending.forget then
    if config_before == '' then redis.call('HDEL', thread, 'config') end -- what the run noted (note_config.lua)
    if config_before and config_before ~= '' and redis.call('EXISTS', thread) == 1 then
      redis.call('HSET', thread, 'config', config_before)
    end
    redis.call('ZREM', runs, id)
    redis.call('DEL', ended.record)
    redis.call('SADD', rolled_back, id)
    redis.call('EXPIRE', rolled_back, events_ttl)
  end
  push_expiry(thread_id, ending.now_ms)
  if temporary then
    redis.call('EXPIRE', ended.record, events_ttl)
    redis.call('ZREM', runs, id)
    if redis.call('EXISTS', runs) == 0 then
      redis.call('DEL', thread, waiting, deferred, segments)
      redis.call('PUBLISH', segments, '')
      redis.call('ZREM', expiring, thread_id)
      redis.call('ZADD', garbage, ending.now_ms, ended.job)
    end
  end
end

