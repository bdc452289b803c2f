--[[
  Write the end of a run: the same for every script that ends one. The caller has checked that the run may end, and has
  removed it from the queue and from its thread's FIFO.

  KEY  thread       hash
  KEY  runs         sorted set
  KEY  waiting      list
  KEY  deferred     sorted set
  KEY  segments     sorted set; also the thread's notification channel
  KEY  rolled_back  set
  KEY  live         set
  KEY  identities   sorted set
  KEY  garbage      sorted set
  KEY  expiring     sorted set
  ARG  events_ttl   s for which the events stay readable
]]
-- with journal
-- with outbox
-- with sequence
-- with expiry
-- `run` is a run reference as read_run_ref returns it: job, record, events, delivery. `ending` has
--   status
--   cause           why it ends (Cause of shared/rules/lifecycle.py)
--   error, output   JSON, '' for none
--   events          {event name, JSON data, …} to append before the end; nil for none
--   after           index of the newest event that the caller knows (sequence.lua)
--   forget          true to delete the record, for a rollback
--   now_us, now_ms
local function end_run(run, ending)
  local thread_id, run_id = run.job:match('^([^/]+)/(.+)$')
  local temporary, config_before, reason, journal, share =
    unpack(redis.call('HMGET', run.record, 'temporary', 'config_before', 'reason', 'journal', 'share'))
  redis.call('HSET', run.record, 'status', ending.status, 'updated_at', ending.now_us,
    'journal', with_line(journal, string.format('ended %.0f %s', ending.now_ms, ending.cause)))
  if ending.error ~= '' then redis.call('HSET', run.record, 'error', ending.error) end
  local next_id = event_ids(run.record, run_id, ending.after)
  local events = ending.events
  if events then
    for i = 1, #events, 2 do redis.call('XADD', run.events, next_id(), events[i], events[i + 1]) end
  end
  local last = {'end', '{"status":"' .. ending.status .. '"}', 'output', ending.output, 'at', ending.now_ms}
  if reason then -- a cancel was requested
    last[7], last[8] = 'reason', reason
  end
  redis.call('XADD', run.events, next_id(), unpack(last))
  redis.call('EXPIRE', run.events, events_ttl)
  redis.call('PUBLISH', run.events, '')
  redis.call('SREM', live, run.job)
  local identity = (share or ''):match('^%S+ (%S+) ')
  if identity then redis.call('ZREM', identities, identity .. '/' .. run.job) end

  if redis.call('EXISTS', thread) == 0 then redis.call('DEL', segments) end -- Redis has lost the thread
  note_delivery(run.record, run.delivery, run.job, ending.now_us, ending.now_ms,
    ending.error == '' and ending.output or '')
  if ending.forget then
    if config_before == '' then redis.call('HDEL', thread, 'config') end -- the run wrote it (note_config.lua)
    if config_before and config_before ~= '' and redis.call('EXISTS', thread) == 1 then
      redis.call('HSET', thread, 'config', config_before)
    end
    redis.call('ZREM', runs, run_id)
    redis.call('DEL', run.record)
    redis.call('SADD', rolled_back, run_id)
    redis.call('EXPIRE', rolled_back, events_ttl)
  end
  push_expiry(thread_id, ending.now_ms)
  if temporary then
    redis.call('EXPIRE', run.record, events_ttl)
    redis.call('ZREM', runs, run_id)
    if redis.call('EXISTS', runs) == 0 then
      redis.call('DEL', thread, waiting, deferred, segments)
      redis.call('PUBLISH', segments, '')
      redis.call('ZREM', expiring, thread_id)
      redis.call('ZADD', garbage, ending.now_ms, run.job)
    end
  end
end

