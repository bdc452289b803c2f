--[[
  End a run: its status, its last events, its thread's status, and the next run's release.

  KEY  run            hash
  KEY  thread         hash
  KEY  waiting        list
  KEY  events         stream, and the name of its doorbell
  KEY  queue          sorted set
  KEY  delivery       hash
  KEY  deferred       sorted set
  ARG  job            job id
  ARG  run_ref         what the thread holds of the run (keys.run_ref)
  ARG  fence          '' when the caller holds no lease (it ends a pending run)
  ARG  yields         '1' when a cancel that was asked for goes before this cause; '' when this is the cancel: of a
                      'rollback' the record goes too, and what it noted
  ARG  failure        JSON of the error for the record, '' if none
  ARG  start          the status that this cause leads from (shared/rules/lifecycle.py)
  ARG  target         the status that it leads to
  ARG  output         JSON that wait and join answer with, kept with the end event
  ARG  after          the index of the newest event that the caller knows of (append.lua)
  ARGS thread_fields  field, value, …: idle_status (the thread's status when no run is left), values, interrupts, error
  ARGS last_events    event name, JSON data, …: appended before the end

  It also takes what parts/ending.lua declares.

  Returns {'finished', status}, {'cancelled', action} (a cancel goes first; nothing was written),
          {'fenced'} (the lease is another's) or {'refused', status or ''} (the run is not where the edge starts).
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
if forget and fence == '' and current ~= '0' then return {'refused', status} end -- a worker must undo it first

local now_us, now_ms = read_clock()
redis.call('ZREM', queue, job) -- first, so that it works without memory too (renew.lua)
if redis.call('HGET', thread, 'active') ~= run_ref then -- it never had its seq: nobody waits for it
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
  {status = target, error = failure, output = output, after = after, events = last_events, forget = forget,
    now_us = now_us, now_ms = now_ms})
return {'finished', target}
