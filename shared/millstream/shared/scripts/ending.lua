-- Part of the scripts that say `with ending` (after `with outbox`, `with turn` and `with expiry`): what the end of a
-- run writes, whoever ends it. The caller has looked whether it may end, and has taken it out of the queue and out of
-- its thread's places.
--   run   what a ticket names (ticket.lua): job, record, events, delivery
--   keys  thread, runs, waiting, deferred, turns, undone, live, garbage, expiring, deliveries
--   told  status, error and output (JSON, '' for none), after (turn.lua), forget (whether its record goes), events_ttl
--         and delivery_ttl (s), now_us, now_ms; words: a list that has, from `first` on, event name, JSON data, …
--         to tell before the end
local function end_run(run, keys, told)
  local thread_id, id = run.job:match('^([^/]+)/(.+)$')
  local kept = redis.call('HMGET', run.record, 'temporary', 'config_before', 'reason')
  redis.call('HSET', run.record, 'status', told.status, 'updated_at', told.now_us)
  if told.error ~= '' then redis.call('HSET', run.record, 'error', told.error) end
  local next_id = ids_of(run.record, keys.thread, keys.turns, id, told.after)
  for i = told.first, #told.words, 2 do
    redis.call('XADD', run.events, next_id(), told.words[i], told.words[i + 1])
  end
  local last = { 'end', '{"status":"' .. told.status .. '"}', 'output', told.output, 'at', told.now_ms }
  if kept[3] then -- it was cancelled
    last[7], last[8] = 'reason', kept[3]
  end
  redis.call('XADD', run.events, next_id(), unpack(last))
  redis.call('EXPIRE', run.events, told.events_ttl)
  redis.call('PUBLISH', run.events, '')
  redis.call('SREM', keys.live, run.job)

  if redis.call('EXISTS', keys.thread) == 0 then redis.call('DEL', keys.turns) end -- its thread was lost
  note_delivery(run.record, keys.thread, keys.deliveries, run.delivery, run.job, told.now_us, told.now_ms,
    told.delivery_ttl, told.error == '' and told.output or '')
  if told.forget then
    if kept[2] == '' then redis.call('HDEL', keys.thread, 'config') end -- what the run noted (note_config.lua)
    if kept[2] and kept[2] ~= '' and redis.call('EXISTS', keys.thread) == 1 then
      redis.call('HSET', keys.thread, 'config', kept[2])
    end
    redis.call('ZREM', keys.runs, id)
    redis.call('DEL', run.record)
    redis.call('SADD', keys.undone, id)
    redis.call('EXPIRE', keys.undone, told.events_ttl)
  end
  push_expiry(keys.thread, keys.expiring, thread_id, told.now_ms)
  if kept[1] then
    redis.call('EXPIRE', run.record, told.events_ttl)
    redis.call('ZREM', keys.runs, id)
    if redis.call('EXISTS', keys.runs) == 0 then
      redis.call('DEL', keys.thread, keys.waiting, keys.deferred, keys.turns)
      redis.call('PUBLISH', keys.turns, '')
      redis.call('ZREM', keys.expiring, thread_id)
      redis.call('ZADD', keys.garbage, told.now_ms, run.job)
    end
  end
end
