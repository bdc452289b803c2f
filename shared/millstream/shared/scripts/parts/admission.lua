--[[
  Admit a run, for admit.lua and fire_cron.lua.

  KEY  thread         hash
  KEY  runs           sorted set
  KEY  waiting        list
  KEY  run            hash
  KEY  queue          sorted set
  KEY  wake           list
  KEY  backlog        sorted set
  KEY  live           set
  KEY  identities     sorted set
  KEY  deferred       sorted set
  KEY  queues         set
  ARG  job            job id
  ARG  run_id
  ARG  spec           msgpack of wire.RunSpec
  ARG  pending        first status of a run
  ARG  new_run        'refuse' or 'wait', if the thread has other runs (NewRun of shared/rules/multitask.py)
  ARG  cancel_others  the CancelAction that the thread's other runs get, '' if they continue
  ARG  delay          ms until the run is due
  ARG  missing        'refuse' or 'create', if the thread does not exist
  ARG  graph_id       stored on the thread too
  ARG  assistant_id   stored on the thread too
  ARG  run_ref        run reference (keys.run_ref)
  ARG  protocol       lowest version that a worker must understand (shared/wire.py)
  ARG  max_live       maximum number of runs that have not ended; 0 for no limit
  ARG  max_of_identity  the same for the identity; 0 for no limit
  ARG  identity       digest of the client's identity, '' for none
  ARG  share          what the run's tag follows from (fair_queue.lua)
  ARG  queue_name
  ARG  max_queues     number of names in `queues` from which on no further one is added
  ARG  run_terms      keys of the sets for graph and assistant (shared/metadata_index.py)
  ARG  webhook        URL to call when the run has ended, '' for none
  ARG  answers        JSON of the interrupts that the thread must still wait for, if the run answers them; '' otherwise
  ARG  temporary      '1' if the thread is deleted with its last run, '' otherwise
  ARG  cancelled      status for a displaced run that no worker holds
  ARGS new_thread     field, value, … of the thread to create

  This part is a body, not a function: it returns from the script, or from the function that contains it, what admit.lua
  returns.
]]
-- with clock
-- with fair_queue
-- with wake
-- with expiry
-- with thread_index
-- with guard
local created = redis.call('HGET', run, 'created_at')
if created then return {'admitted', created, {}} end

local exists = redis.call('EXISTS', thread) == 1
if not exists and missing == 'refuse' or redis.call('HEXISTS', thread, 'retired') == 1 then return {'missing'} end
if not guard_holds() then return {'rejudge'} end
local active = exists and redis.call('HGET', thread, 'active')
local has_deferred = exists and redis.call('EXISTS', deferred) == 1
-- An answer is admitted despite deferred runs, which do not change what the thread waits for.
if new_run == 'refuse' and (active or has_deferred and answers == '') then return {'busy'} end
if answers ~= '' and redis.call('HGET', thread, 'interrupts') ~= answers then return {'changed'} end
if tonumber(max_live) > 0 and redis.call('SCARD', live) >= tonumber(max_live) then return {'full'} end
local live_of_identity = identity == '' and 1
  or redis.call('ZLEXCOUNT', identities, '[' .. identity .. '/', '(' .. identity .. '0') -- 0 is the byte after /
if identity ~= '' and tonumber(max_of_identity) > 0 and live_of_identity >= tonumber(max_of_identity) then
  return {'identity_full'}
end

local now_us, now_ms = read_clock()
local due = now_ms + tonumber(delay)
if not exists then
  redis.call('HSET', thread, 'created_at', now_us, 'state_updated_at', now_us, unpack(new_thread))
end
redis.call('HSET', thread, 'updated_at', now_us, 'graph_id', graph_id, 'assistant_id', assistant_id,
  'run_terms', run_terms)
redis.call('HSET', run, 'spec', spec, 'status', pending, 'created_at', now_us, 'updated_at', now_us,
  'fence', 0, 'attempt', 0, 'graph', graph_id, 'protocol', protocol, 'queue', queue_name,
  'backlog', backlog, 'share', share)
if webhook ~= '' then redis.call('HSET', run, 'webhook', webhook) end
if temporary ~= '' then redis.call('HSET', run, 'temporary', temporary) end
redis.call('ZADD', runs, now_us, run_id)
redis.call('SADD', live, job)
if identity ~= '' then redis.call('ZADD', identities, 0, identity .. '/' .. job) end
-- Assistants may name any queue: without a limit, clients could make each read of all queues slow.
if redis.call('SCARD', queues) < tonumber(max_queues) then redis.call('SADD', queues, queue_name) end
local thread_id = job:match('^[^/]+')
push_expiry(thread_id, due)

local marked = {}
if (active or has_deferred) and cancel_others ~= '' then
-- Inserted here, because most admissions displace no run and so need not create these functions.
-- with displacement
  marked = displace(cancel_others, cancelled, now_us, now_ms)
  active = redis.call('HGET', thread, 'active') -- a run that a worker must end
end

if due > now_ms then
  -- A deferred run has no place in the thread's FIFO until it is due; the claim adds it then.
  redis.call('ZADD', queue, due, job)
  redis.call('ZADD', backlog, due, job)
  redis.call('ZADD', deferred, due, run_ref)
elseif active then
  redis.call('RPUSH', waiting, run_ref)
else
  redis.call('HSET', thread, 'active', run_ref)
  enqueue(queue, job, share, now_ms, false, live_of_identity == 0)
  redis.call('ZADD', backlog, now_ms, job)
  push_wake(wake, job)
end
index_thread(thread_id)
return {'admitted', now_us, marked}
