--[[
  Repair a stuck run, which a loss of data, an eviction or a deleted key left behind. The script checks the run again
  and leaves a healthy run as it is, whatever the caller read before.

  KEY  run         hash
  KEY  thread      hash
  KEY  waiting     list
  KEY  events      stream; also the name of its notification channel
  KEY  queue       sorted set
  KEY  wake        list
  KEY  backlog     sorted set
  KEY  live        set
  KEY  identities  sorted set
  KEY  runs        sorted set
  KEY  garbage     sorted set
  KEY  delivery    hash
  KEY  segments    sorted set
  KEY  deferred    sorted set
  ARG  job         job id
  ARG  run_ref     run reference (keys.run_ref)
  ARG  pending     status
  ARG  running     status
  ARG  lease       ms within which a worker that holds the run renews its lease
  ARG  events_ttl  s for which the events of a run that ends here stay readable
  ARG  busy        status of a thread that has an active run
  ARG  failure     JSON of the error of a run whose thread is lost
  ARGS stranded    from, to, …: the edges of Cause.STRANDED (shared/rules/lifecycle.py)

  Returns 'fine'      the run is healthy; nothing changed
          'cancel'    the caller must end this pending run as cancelled
          'ended'     the run had ended; its leftovers are removed
          'stranded'  the run ended here, because its thread is lost
          'queued'    the run has its place in the queue or the FIFO again
          'listed'    the backlog has, or has not, the run again, as its status says
          'released'  the thread's next run is active
]]
-- with clock
-- with fair_queue
-- with wake
-- with journal
-- with release
-- with outbox
-- with sequence
-- with thread_index
local now_us, now_ms = read_clock()

local function next_id()
  return event_ids(run, job:match('[^/]+$'))()
end

local function write_end(final_status)
  redis.call('XADD', events, next_id(), 'end', '{"status":"' .. final_status .. '"}', 'at', now_ms)
  redis.call('EXPIRE', events, events_ttl)
  redis.call('PUBLISH', events, '')
end

local thread_id = job:match('^[^/]+')

local function write_journal(line)
  redis.call('HSET', run, 'journal', with_line(redis.call('HGET', run, 'journal'), line))
end

-- Returns what the script did, for a run that has its place again.
local function placed()
  write_journal(string.format('repaired %.0f', now_ms))
  return 'queued'
end

local function queue_again()
  enqueue(queue, job, redis.call('HGET', run, 'share'), now_ms, true)
  redis.call('ZADD', backlog, now_ms, job)
  push_wake(wake, job)
end

local status, fence, cancel = unpack(redis.call('HMGET', run, 'status', 'fence', 'cancel'))
local active = redis.call('HGET', thread, 'active')
local due = redis.call('ZSCORE', queue, job)
local listed = redis.call('ZSCORE', backlog, job) -- negative: no worker could execute it (claim.lua)

if status ~= pending and status ~= running then
  local alive = redis.call('SREM', live, job)
  redis.call('ZREM', queue, job)
  redis.call('ZREM', backlog, job)
  redis.call('LREM', waiting, 0, run_ref)
  redis.call('ZREM', deferred, run_ref)
  local newest = status and redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  local lacks_end = newest and newest[2][1] ~= 'end'
  if lacks_end then write_end(status) end
  if active == run_ref then
    release(now_ms)
    index_thread(thread_id)
  elseif alive == 0 and not due and not listed and not lacks_end then
    return 'fine'
  end
  return 'ended'
end

if redis.call('SADD', live, job) == 1 then
  local identity = (redis.call('HGET', run, 'share') or ''):match('^%S+ (%S+) ')
  if identity then redis.call('ZADD', identities, 0, identity .. '/' .. job) end
end
-- A claim of a cancelled run ends it, and no search finds the run if its queue is paused.
if cancel and due and tonumber(due) <= now_ms then push_wake(wake, job) end
local held = status == running and due and tonumber(due) > now_ms
if redis.call('EXISTS', thread) == 0 and not held then
  if status == running and not due and redis.call('HSETNX', run, 'missed', 1) == 1 then
    redis.call('ZADD', queue, now_ms + tonumber(lease), job) -- a lease: its worker may be alive
    redis.call('ZREM', backlog, job)
    return placed()
  end
  for i = 1, #stranded, 2 do
    local from, to = stranded[i], stranded[i + 1]
    if status == from then
      redis.call('HSET', run, 'status', to, 'error', failure, 'updated_at', now_us)
      write_journal(string.format('ended %.0f stranded', now_ms)) -- Cause.STRANDED (shared/rules/lifecycle.py)
      note_delivery(run, delivery, job, now_us, now_ms)
      redis.call('EXPIRE', run, events_ttl)
      redis.call('ZREM', queue, job)
      redis.call('ZREM', backlog, job)
      redis.call('SREM', live, job)
      redis.call('DEL', waiting, runs, segments, deferred)
      redis.call('ZADD', garbage, now_ms, job) -- its checkpoints
      redis.call('XADD', events, next_id(), 'error', failure, 'first', fence == '0' and 1 or '')
      write_end(to)
      return 'stranded'
    end
  end
end

if status == running then
  if due and (not listed or tonumber(listed) < 0) then return 'fine' end
  redis.call('ZREM', backlog, job)
  if due then return 'listed' end
  redis.call('ZADD', queue, now_ms + tonumber(lease), job) -- a lease: its worker may be alive
  return placed()
end
if cancel and fence == '0' then return 'cancel' end
local waits = redis.call('LPOS', waiting, run_ref)
if due then
  local has_place = active == run_ref or waits or cancel or redis.call('ZSCORE', deferred, run_ref)
  if not listed then redis.call('ZADD', backlog, tonumber(due) < 0 and now_ms or due, job) end
  if has_place or tonumber(due) <= now_ms then return listed and 'fine' or 'listed' end
  redis.call('ZADD', deferred, due, run_ref) -- so that a strategy can displace it
  return placed()
end
redis.call('ZREM', deferred, run_ref)
if listed then redis.call('ZREM', backlog, job) end -- it is not in the queue
if active == run_ref or not active and not waits then
  redis.call('HSET', thread, 'active', run_ref, 'status', busy)
  index_thread(thread_id)
  queue_again()
  return placed()
end
if not waits then
  redis.call('RPUSH', waiting, run_ref)
  return placed()
end
if active then return 'fine' end
release(now_ms)
index_thread(thread_id)
return 'released'
