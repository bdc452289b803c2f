--[[
  Claim a due run for a worker: grant the lease, raise the fence, and write the attempt's first event.

  KEY  queue         sorted set
  KEY  backlog       sorted set
  KEY  paused        hash
  KEY  run           hash
  KEY  thread        hash
  KEY  waiting       list
  KEY  events        stream; also the name of its notification channel
  KEY  deferred      sorted set
  ARG  job           job id
  ARG  run_id
  ARG  control       channel on which the worker receives cancels
  ARG  worker        id of the worker
  ARG  lease         ms
  ARG  max_attempts  number of attempts after which a run that crashes its process is exhausted
  ARG  events_ttl    s, until the next claim or the end of the run
  ARG  busy          status of a thread that has an active run
  ARG  run_ref       run reference (keys.run_ref)
  ARG  pending       status of a run that can be claimed
  ARG  running       status of a claimed run; after its lease has lapsed, it can be claimed like a pending run
  ARG  token         identifies this claim: a repeat after a lost reply gets the same reply
  ARG  protocol      newest version that the worker understands (shared/wire.py)
  ARG  grace         ms; above 0 if Redis was unavailable a short time ago, so that no worker could renew a lease. A
                     lapsed lease is then extended for its holder by this time: once, until the holder renews it
                     (renew.lua).
  ARG  slots         number of runs that the worker may still claim. It claims no run whose rank in the queue is this
                     or higher. 0: it claims a due run with any tag.
  ARG  default_share  `share` of a run whose record has none (parts/fair_queue.lua)
  ARGS graphs        ids of the graphs that the worker serves

  Returns {'claimed', fence, attempt, spec, cancel or '', created_at, first, index, crashes, exhausted, crash, waited,
           before}:
          the caller holds the lease. It must end, and not execute, a run that has a cancel or is exhausted (1).
            first    1 for the first claim of the run
            index    of the run's newest event (parts/sequence.lua)
            crashes  number of attempts that crashed their process
            crash    how the last one crashed
            waited   ms for which the run was due; 0 for a repeated claim
            before   what the journal's line before this claim says: lapsed, lapsed_alone, handed_back, crashed; '' or
                     another word if no attempt has ended
          {'early', ms} for a job that is not due yet (another worker may hold it), or whose lease was extended
          {'behind'} for a due run that the worker must not claim before others (parts/fair_queue.lua)
          {'unserved', ms} for a run that this worker can't execute; it is due again after that time
          {'paused'} for a run of a paused queue, unless a cancel was requested: the claim then only ends the run
          {'waits'} for a deferred run that has now joined its thread's FIFO
          {'gone'} for a job that no worker has to execute any more
]]
-- with clock
-- with fair_queue
-- with journal
-- with thread_index
-- with sequence
local now_us, now_ms = read_clock()

local due = redis.call('ZSCORE', queue, job)
if not due then return {'gone'} end
local status, fence, attempt, spec, cancel, created_at, claimed_by, graph, needed_protocol, first, index,
  lease_extended, crashes, alone, crash, unserved_since, journal, share = unpack(redis.call('HMGET', run, 'status', 'fence', 'attempt',
  'spec', 'cancel', 'created_at', 'token', 'graph', 'protocol', 'first', 'index', 'lease_extended', 'crashes', 'alone', 'crash',
  'unserved_since', 'journal', 'share'))
crashes = tonumber(crashes or 0)

-- A lease that lapsed while the worker executed other runs too may be the fault of any of them. All such lapses count
-- as one attempt, and only for a run that has also crashed a process in which no other run was executed.
local function is_exhausted(attempts)
  local lapses = attempts > crashes and 1 or 0
  return crashes > 0 and crashes + lapses >= tonumber(max_attempts)
end

local function last_step(text) return text and text:match('([%a_]+)[^\n]*$') or '' end

local left = tonumber(due) - now_ms
if status == running and claimed_by == token then
  redis.call('ZADD', queue, now_ms + tonumber(lease), job) -- the worker counts from its request
  return {'claimed', fence, attempt, spec, cancel or '', created_at, tonumber(first), tonumber(index or 0), crashes,
    is_exhausted(attempt - 1) and 1 or 0, crash or '', 0, last_step(journal and journal:match('^(.*)\n'))}
end
if not cancel and redis.call('EXISTS', paused) == 1 then return {'paused'} end
if left <= 0 and status == running and tonumber(grace) > 0 and lease_extended ~= fence then
  left = tonumber(grace)
  redis.call('HSET', run, 'lease_extended', fence)
  redis.call('ZADD', queue, now_ms + left, job)
end
if left > 0 then return {'early', string.format('%.0f', left)} end

local lapsed
if status == running then -- its lease has lapsed
  status, lapsed = pending, 'lapsed'
  if alone == fence then -- that worker executed no other run (mark_alone.lua)
    crashes, lapsed = crashes + 1, 'lapsed_alone'
  end
end
if status ~= pending or redis.call('EXISTS', thread) == 0 then
  redis.call('ZREM', queue, job)
  redis.call('ZREM', backlog, job)
  return {'gone'}
end
if tonumber(slots) > 0 and not lapsed and not cancel then
  if tonumber(due) >= 0 then
    enqueue(queue, job, share or default_share, now_ms, fence ~= '0' or unserved_since)
    due = redis.call('ZSCORE', queue, job)
  end
  if redis.call('ZRANK', queue, job) >= tonumber(slots) then return {'behind'} end
end

local served = cancel or not graph -- a cancel needs no graph
for _, name in ipairs(graphs) do served = served or name == graph end
if not served or tonumber(needed_protocol or 0) > tonumber(protocol) then
  -- The pause is short at first, because a deploy may be under way. It grows with the time, so that a run that no
  -- worker can execute does not keep the workers from other runs.
  if redis.call('HSETNX', run, 'unserved_since', now_ms) == 1 then
    redis.call('HSET', run, 'journal', with_line(journal, string.format('unserved %.0f', now_ms)))
  end
  local pause = math.floor((now_ms - (unserved_since or now_ms)) / 10)
  pause = math.max(100, math.min(60000, pause))
  redis.call('ZADD', queue, now_ms + pause, job)
  local due_since = redis.call('ZSCORE', backlog, job) or tonumber(due) < 0 and now_ms or due
  redis.call('ZADD', backlog, -math.abs(due_since), job)
  return {'unserved', pause}
end

local active = redis.call('HGET', thread, 'active')
if active and active ~= run_ref then
  redis.call('ZREM', queue, job)
  redis.call('ZREM', backlog, job)
  redis.call('ZREM', deferred, run_ref)
  redis.call('RPUSH', waiting, run_ref)
  return {'waits'}
end

-- From the clock, so that a claim which Redis forgot in a crash never shares its fence with a later one.
local next_fence = string.format('%.0f', math.max(fence + 1, tonumber(now_us)))
local is_first = fence == '0' and 1 or 0
local exhausted = is_exhausted(tonumber(attempt))
attempt = attempt + 1
local is_tagged = tonumber(due) < 0
-- The score in the queue is a tag, or was raised by each claim of a worker that could not execute the run.
local due_since = (is_tagged or unserved_since) and redis.call('ZSCORE', backlog, job)
local waited = due_since and now_ms - math.abs(due_since) or is_tagged and 0 or -left
if lapsed then journal = with_line(journal, string.format('%s %.0f', lapsed, now_ms - waited)) end
local before = last_step(journal)
journal = with_line(journal,
  string.format('claimed %.0f %.0f %s %.0f %s', now_ms, attempt, next_fence, waited, worker))
if is_tagged then advance(share or default_share, due) end
redis.call('ZADD', queue, now_ms + tonumber(lease), job)
redis.call('ZREM', backlog, job)
redis.call('HSETNX', run, 'started_at', now_us)
redis.call('HSET', run, 'status', running, 'fence', next_fence, 'attempt', attempt, 'control', control,
  'token', token, 'first', is_first, 'crashes', crashes, 'updated_at', now_us,
  'journal', journal)
redis.call('HSET', thread, 'active', run_ref, 'status', busy, 'updated_at', now_us)
if not active then redis.call('ZREM', deferred, run_ref) end -- a deferred run that is due now
index_thread(job:match('^[^/]+'))
redis.call('HINCRBY', thread, 'epoch', 1) -- refuses an update that has read the state before (store_state.lua)
local next_id = event_ids(run, run_id)
if not cancel and not exhausted then
  -- `first` tells readers that no event before this one was trimmed.
  redis.call('XADD', events, next_id(), 'metadata', '{"run_id":"' .. run_id .. '","attempt":' .. attempt .. '}',
    'first', is_first, 'at', now_ms)
  redis.call('PUBLISH', events, '')
end
redis.call('EXPIRE', events, events_ttl)
return {'claimed', next_fence, attempt, spec, cancel or '', created_at, is_first,
  tonumber(redis.call('HGET', run, 'index') or 0), crashes, exhausted and 1 or 0, crash or '', waited, before}
