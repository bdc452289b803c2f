--[[
  End a run: write its status, its last events and its thread's status, and release the thread's next run.

  KEY  run            hash
  KEY  thread         hash
  KEY  waiting        list
  KEY  events         stream; also the name of its notification channel
  KEY  queue          sorted set
  KEY  backlog        sorted set
  KEY  delivery       hash
  KEY  deferred       sorted set
  ARG  job            job id
  ARG  run_ref        run reference (keys.run_ref)
  ARG  fence          '' if the caller holds no lease and ends a pending run
  ARG  yields         '1' if a requested cancel takes precedence over this end; '' if this end is the cancel. A cancel
                      with the action 'rollback' also deletes the record and restores the thread's config.
  ARG  failure        JSON of the error for the record, '' for none
  ARG  start          status that the run must have (shared/rules/lifecycle.py)
  ARG  target         status that the run gets
  ARG  cause          why, for the journal (Cause of shared/rules/lifecycle.py)
  ARG  output         JSON response of wait and join, kept with the end event
  ARG  after          index of the newest event that the caller knows (append.lua)
  ARGS thread_fields  field, value, …: idle_status (the thread's status when no run is left), values, interrupts, error
  ARGS last_events    event name, JSON data, …, to append before the end

  It also takes what parts/ending.lua declares.

  Returns {'finished', status}
          {'cancelled', action}: a cancel takes precedence; nothing was written
          {'fenced'}: another worker holds the lease
          {'refused', status or ''}: the run does not have the status `start`
]]
-- with clock
-- with release
-- with thread_index
-- with ending
local status, current, cancel = unpack(redis.call('HMGET', run, 'status', 'fence', 'cancel'))
if fence ~= '' and status and current ~= fence then return {'fenced'} end
if status ~= start then return {'refused', status or ''} end
if yields == '1' and cancel then return {'cancelled', cancel} end
local forget = yields == '' and cancel == 'rollback'
if forget and fence == '' and current ~= '0' then -- a worker must roll it back first
  redis.call('HDEL', run, '') -- no field; first, so that it also works when Redis is out of memory (renew.lua)
  push_wake(run_ref:match('^%S+ %S+ (%S+)'), job) -- no search finds it if its queue is paused
  return {'refused', status}
end

local now_us, now_ms = read_clock()
redis.call('ZREM', queue, job) -- first, so that it also works when Redis is out of memory (renew.lua)
redis.call('ZREM', backlog, job)
if redis.call('HGET', thread, 'active') ~= run_ref then -- the run was never active: no other run waits for it
  redis.call('LREM', waiting, -1, run_ref)
  redis.call('ZREM', deferred, run_ref)
else
  if #thread_fields > 0 then
    redis.call('HSET', thread, 'updated_at', now_us, 'state_updated_at', now_us, unpack(thread_fields))
  end
  release(now_ms)
  index_thread(job:match('^[^/]+'))
end
end_run({job = job, record = run, events = events, delivery = delivery},
  {status = target, cause = cause, error = failure, output = output, after = after, events = last_events, forget = forget,
    now_us = now_us, now_ms = now_ms})
return {'finished', target}
