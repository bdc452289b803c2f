--[[
  Delete a retired thread with all that belongs to it, once no run of it is left alive. A client
  that follows one of its runs, and has not read the end yet, gets the run's status by the doorbell; a client
  that follows the thread hears its doorbell, and finds that it is gone.

  KEY  thread           hash
  KEY  waiting          list
  KEY  retired          set
  KEY  checkpoint_runs  set, of those that stored checkpoints in the thread
  KEY  expiring         sorted set
  KEY  garbage          sorted set
  KEY  crons            sorted set
  KEY  segments            sorted set, and the name of the thread's doorbell
  KEYS runs_and_events  run, events, run, events, …
  KEYS others           everything else of the thread, its crons too
  ARG  interrupted      the status of a run that was rolled back: its record is gone already
  ARG  thread_id
  ARG  garbage_member   the member of garbage: a checkpointer of another kind deletes what it has of the thread
  ARGS cron_ids

  Returns 1, or 0 when a run is still alive (or the thread is not retired) and nothing changed.
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
for _, key in ipairs(others) do redis.call('UNLINK', key) end
redis.call('ZREM', expiring, thread_id)
for _, cron_id in ipairs(cron_ids) do redis.call('ZREM', crons, cron_id) end
redis.call('ZADD', garbage, 0, garbage_member)
redis.call('SREM', retired, thread_id)
redis.call('PUBLISH', segments, '')
return 1
