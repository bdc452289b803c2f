--[[
  The admission of a run, by itself (admit.lua) or by a cron (fire_cron.lua).

  KEY  thread        hash
  KEY  runs          sorted set
  KEY  waiting       list
  KEY  run           hash
  KEY  queue         sorted set
  KEY  wake          list
  KEY  live          set
  KEY  deferred      sorted set
  ARG  job           job id
  ARG  run_id
  ARG  spec          msgpack of wire.RunSpec
  ARG  pending       the first status of a run
  ARG  new_run       'refuse' or 'wait', if the thread has other runs (NewRun of shared/rules/multitask.py)
  ARG  cancel_others the CancelAction that the thread's other runs get, '' if they continue
  ARG  delay         ms before the run is due
  ARG  missing       'refuse' or 'create': what is done if there is no such thread
  ARG  graph_id      noted on the thread, as is
  ARG  assistant_id
  ARG  run_ref        what the thread holds of the run (keys.run_ref)
  ARG  protocol      the least that a worker has to understand
  ARG  max_live      runs that may be alive at a time; 0: no limit
  ARG  queue_name
  ARG  run_terms         the sets of terms of graph and assistant (terms.run_terms)
  ARG  webhook       URL that is called when the run has ended, '' for none
  ARG  answers       the interrupts (JSON) on which the thread must still wait, '' if it need not
  ARG  temporary     '1' when the thread is deleted with its last run, '' if it stays
  ARG  cancelled     the status of a displaced run that no worker holds
  ARGS new_thread    field, value, … of the thread to create

  It is a body, no function: it returns what admit.lua returns, from the script or from the function that holds it.
]]
-- with clock
-- with wake
-- with expiry
-- with thread_index
local created = redis.call('HGET', run, 'created_at')
if created then return {'admitted', created, {}} end

local known = redis.call('EXISTS', thread) == 1
if not known and missing == 'refuse' or redis.call('HEXISTS', thread, 'retired') == 1 then return {'missing'} end
local active = known and redis.call('HGET', thread, 'active')
local later = known and redis.call('EXISTS', deferred) == 1
-- An answer goes before runs that are due later: they do not change what the thread waits for.
if new_run == 'refuse' and (active or later and answers == '') then return {'busy'} end
if answers ~= '' and redis.call('HGET', thread, 'interrupts') ~= answers then return {'changed'} end
if tonumber(max_live) > 0 and redis.call('SCARD', live) >= tonumber(max_live) then return {'full'} end

local now_us, now_ms = read_clock()
local due = now_ms + tonumber(delay)
if not known then
  redis.call('HSET', thread, 'created_at', now_us, 'state_updated_at', now_us, unpack(new_thread))
end
redis.call('HSET', thread, 'updated_at', now_us, 'graph_id', graph_id, 'assistant_id', assistant_id, 'run_terms', run_terms)
redis.call('HSET', run, 'spec', spec, 'status', pending, 'created_at', now_us, 'updated_at', now_us,
  'fence', 0, 'attempt', 0, 'graph', graph_id, 'protocol', protocol, 'queue', queue_name)
if webhook ~= '' then redis.call('HSET', run, 'webhook', webhook) end
if temporary ~= '' then redis.call('HSET', run, 'temporary', temporary) end
redis.call('ZADD', runs, now_us, run_id)
redis.call('SADD', live, job)
local thread_id = job:match('^[^/]+')
push_expiry(thread_id, due)

local left = {}
if (active or later) and cancel_others ~= '' then
-- Brought in here: most admissions displace nothing, and need not make these functions.
-- with displacement
  left = displace(cancel_others, cancelled, now_us, now_ms)
  active = redis.call('HGET', thread, 'active') -- a run that a worker has to end
end

if due > now_ms then
  -- It takes no place in the thread's FIFO before it is due: the claim gives it one.
  redis.call('ZADD', queue, due, job)
  redis.call('ZADD', deferred, due, run_ref)
elseif active then
  redis.call('RPUSH', waiting, run_ref)
else
  redis.call('HSET', thread, 'active', run_ref)
  redis.call('ZADD', queue, now_ms, job)
  push_wake(wake, job)
end
index_thread(thread_id)
return {'admitted', now_us, left}
