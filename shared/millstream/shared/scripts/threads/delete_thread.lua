--[[
  Delete a retired thread with its runs, checkpoints and crons, once all its runs have ended. A client that follows one
  of the runs and has not read its end yet gets the run's status from the notification. A client that follows the thread
  is notified, and finds that the thread does not exist.

  KEY  thread           hash
  KEY  waiting          list
  KEY  retired          set
  KEY  checkpoint_runs  set: runs that stored checkpoints in the thread
  KEY  expiring         sorted set
  KEY  garbage          sorted set
  KEY  crons            sorted set
  KEY  segments         sorted set; also the thread's notification channel
  KEYS runs_and_events  run, events, run, events, …
  KEYS other_keys       all other keys of the thread, and the keys of its crons
  ARG  interrupted      status of a run that was rolled back, so that its record does not exist any more
  ARG  thread_id
  ARG  garbage_member   member of garbage: a worker deletes what an external checkpointer holds of the thread
  ARGS cron_ids

  Returns 1, or 0 without a change if a run has not ended or the thread is not retired.
]]
-- with forget_runs
if redis.call('HEXISTS', thread, 'active') == 1 then return 0 end
if redis.call('HEXISTS', thread, 'retired') == 0 then return 0 end
if redis.call('EXISTS', waiting) == 1 then return 0 end
forget_runs()
for i = 1, #runs_and_events, 2 do
  local run, events = runs_and_events[i], runs_and_events[i + 1]
  redis.call('PUBLISH', events, redis.call('HGET', run, 'status') or interrupted)
  redis.call('UNLINK', run, events)
end
redis.call('UNLINK', thread, waiting, checkpoint_runs, segments)
for _, key in ipairs(other_keys) do redis.call('UNLINK', key) end
redis.call('ZREM', expiring, thread_id)
for _, cron_id in ipairs(cron_ids) do redis.call('ZREM', crons, cron_id) end
redis.call('ZADD', garbage, 0, garbage_member)
redis.call('SREM', retired, thread_id)
redis.call('PUBLISH', segments, '')
return 1
