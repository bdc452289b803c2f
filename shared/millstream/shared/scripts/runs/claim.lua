--[[
  Claim a due run for one worker: a lease, the next fence, and the first event of the attempt.

  KEY  queue         sorted set
  KEY  run           hash
  KEY  thread        hash
  KEY  waiting       list
  KEY  events        stream, and the name of its doorbell
  KEY  deferred      sorted set
  ARG  job           job id
  ARG  run_id
  ARG  control       the worker's channel, for cancels
  ARG  lease         ms
  ARG  max_attempts  after which a run that ends its process is given up
  ARG  events_ttl    s, while the run runs
  ARG  busy          the status of a thread whose run runs
  ARG  run_ref        what the thread holds of the run (keys.run_ref)
  ARG  pending       the status of a run that can be claimed
  ARG  running       the status of a run that is claimed; with a lease that has lapsed, it is as a pending one
  ARG  token         names this claim: sent again after a lost reply, it has the same answer
  ARG  protocol      the newest that the worker understands (shared/wire.py)
  ARG  spare         ms; above 0 if Redis was away a short time ago: a lease that has lapsed is then left to its
                     holder for so much longer, as nobody could renew it; but once only, until the holder has renewed
                     it (renew.lua)
  ARGS graphs        ids of the graphs that the worker serves

  Returns {'claimed', fence, attempt, spec, cancel or '', created_at, first, index, crashes, exhausted, crash}:
          the caller holds the lease; a run with a cancel, or one that is exhausted (1), is to be ended and
          not executed; first is 1 for the first claim of the run; index is that of its newest event
          (sequence.lua); crashes is how many of its attempts ended their process, crash how the last one did;
          {'early', ms} for a job that is not due (it may be running elsewhere), or whose holder is lease_extended;
          {'unserved', ms} for a run that this worker can't execute: left to others, looked at later;
          {'waits'} for a deferred run that has now joined its thread's FIFO;
          {'gone'} for a job that nobody needs to execute any more.
]]
-- with clock
-- with thread_index
-- with sequence
local now_us, now_ms = read_clock()

local due = redis.call('ZSCORE', queue, job)
if not due then return {'gone'} end
local status, fence, attempt, spec, cancel, created_at, claimed_by, graph, needed_protocol, first, index, lease_extended,
  crashes, alone, crash = unpack(redis.call('HMGET', run, 'status', 'fence', 'attempt', 'spec', 'cancel', 'created_at',
  'token', 'graph', 'protocol', 'first', 'index', 'lease_extended', 'crashes', 'alone', 'crash'))
crashes = tonumber(crashes or 0)

-- A lease that lapsed beside other runs may be the fault of any of them: it counts as one attempt, however
-- often it happens, and only for a run that has crashed a process in which nothing else runs_with_checkpoints.
local function is_exhausted(ended)
  local shared = ended > crashes and 1 or 0
  return crashes > 0 and crashes + shared >= tonumber(max_attempts)
end

local left = tonumber(due) - now_ms
if status == running and claimed_by == token then
  redis.call('ZADD', queue, now_ms + tonumber(lease), job) -- the worker counts from when it asked
  return {'claimed', fence, attempt, spec, cancel or '', created_at, tonumber(first), tonumber(index or 0), crashes,
    is_exhausted(attempt - 1) and 1 or 0, crash or ''}
end
if left <= 0 and status == running and tonumber(spare) > 0 and lease_extended ~= fence then
  left = tonumber(spare)
  redis.call('HSET', run, 'lease_extended', fence)
  redis.call('ZADD', queue, now_ms + left, job)
end
if left > 0 then return {'early', string.format('%.0f', left)} end

if status == running then -- its lease has lapsed
  status = pending
  if alone == fence then crashes = crashes + 1 end -- nothing else runs_with_checkpoints on that worker (run_alone.lua)
end
if status ~= pending or redis.call('EXISTS', thread) == 0 then
  redis.call('ZREM', queue, job)
  return {'gone'}
end

local served = cancel or not graph -- a cancel needs no graph
for _, name in ipairs(graphs) do served = served or name == graph end
if not served or tonumber(needed_protocol or 0) > tonumber(protocol) then
  -- Looked at often at first, for a deploy may be under way; a run that nobody can execute is looked
  -- at ever less, so that it does not keep the workers from others.
  redis.call('HSETNX', run, 'unserved_since', now_ms)
  local pause = math.floor((now_ms - redis.call('HGET', run, 'unserved_since')) / 10)
  pause = math.max(100, math.min(60000, pause))
  redis.call('ZADD', queue, now_ms + pause, job)
  return {'unserved', pause}
end

local active = redis.call('HGET', thread, 'active')
if active and active ~= run_ref then
  redis.call('ZREM', queue, job)
  redis.call('ZREM', deferred, run_ref)
  redis.call('RPUSH', waiting, run_ref)
  return {'waits'}
end

-- Of the clock, so that a claim which Redis forgot in a crash never shares its fence with a later one.
local next_fence = string.format('%.0f', math.max(fence + 1, tonumber(now_us)))
local is_first = fence == '0' and 1 or 0
local exhausted = is_exhausted(tonumber(attempt))
attempt = attempt + 1
redis.call('ZADD', queue, now_ms + tonumber(lease), job)
redis.call('HSETNX', run, 'started_at', now_us)
redis.call('HSET', run, 'status', running, 'fence', next_fence, 'attempt', attempt, 'control', control,
  'token', token, 'first', is_first, 'crashes', crashes, 'updated_at', now_us)
redis.call('HSET', thread, 'active', run_ref, 'status', busy, 'updated_at', now_us)
if not active then redis.call('ZREM', deferred, run_ref) end -- it was deferred, and is due
index_thread(job:match('^[^/]+'))
redis.call('HINCRBY', thread, 'epoch', 1) -- whatever was read of the thread's state before is old now
local next_id = ids_of(run, run_id)
if not cancel and not exhausted then
  -- The mark tells a reader that nothing was trimmed away before it.
  redis.call('XADD', events, next_id(), 'metadata', '{"run_id":"' .. run_id .. '","attempt":' .. attempt .. '}',
    'first', is_first, 'at', now_ms)
  redis.call('PUBLISH', events, '')
end
redis.call('EXPIRE', events, events_ttl)
return {'claimed', next_fence, attempt, spec, cancel or '', created_at, is_first,
  tonumber(redis.call('HGET', run, 'index') or 0), crashes, exhausted and 1 or 0, crash or ''}
