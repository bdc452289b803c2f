--[[
  Put a run right that nothing would ever move on: what a loss of data, an eviction or a deleted key
  left behind. A run that is where it should be is left alone, whatever the caller saw before.

  KEY  run         hash
  KEY  thread      hash
  KEY  waiting     list
  KEY  events      stream, and the name of its doorbell
  KEY  queue       sorted set
  KEY  wake        list
  KEY  live        set
  KEY  runs        sorted set
  KEY  garbage     sorted set
  KEY  delivery    hash
  KEY  segments       sorted set
  KEY  deferred    sorted set
  ARG  job         job id
  ARG  run_ref      what the thread holds of the run (keys.run_ref)
  ARG  pending     a status
  ARG  running     a status
  ARG  lease       ms in which a worker that holds the run will have renewed
  ARG  events_ttl  s after the end
  ARG  busy        the status of a thread that has a run
  ARG  failure     JSON of the error of a run whose thread is gone
  ARGS stranded    from, to, …: the edges of that cause (shared/rules/lifecycle.py)

  Returns 'fine'; 'cancel' for a pending run that the caller is to end as cancelled; or what was done:
  'ended' (it had ended: what still spoke of it is gone), 'stranded' (ended, for its thread is gone),
  'queued' (it has its place again), 'released' (the thread's next run has its seq).
]]
-- with clock
-- with wake
-- with release
-- with outbox
-- with sequence
-- with thread_index
local now_us, now_ms = read_clock()

local function next_id()
  return ids_of(run, job:match('[^/]+$'))()
end

local function write_end(last)
  redis.call('XADD', events, next_id(), 'end', '{"status":"' .. last .. '"}', 'at', now_ms)
  redis.call('EXPIRE', events, events_ttl)
  redis.call('PUBLISH', events, '')
end

local thread_id = job:match('^[^/]+')

local function enqueue()
  redis.call('ZADD', queue, now_ms, job)
  push_wake(wake, job)
end

local status, fence, cancel = unpack(redis.call('HMGET', run, 'status', 'fence', 'cancel'))
local active = redis.call('HGET', thread, 'active')
local due = redis.call('ZSCORE', queue, job)

if status ~= pending and status ~= running then
  local alive = redis.call('SREM', live, job)
  redis.call('ZREM', queue, job)
  redis.call('LREM', waiting, 0, run_ref)
  redis.call('ZREM', deferred, run_ref)
  local newest = status and redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  local open = newest and newest[2][1] ~= 'end'
  if open then write_end(status) end
  if active == run_ref then
    release(now_ms)
    index_thread(thread_id)
  elseif alive == 0 and not due and not open then
    return 'fine'
  end
  return 'ended'
end

redis.call('SADD', live, job)
local held = status == running and due and tonumber(due) > now_ms
if redis.call('EXISTS', thread) == 0 and not held then
  if status == running and not due and redis.call('HSETNX', run, 'missed', 1) == 1 then
    redis.call('ZADD', queue, now_ms + tonumber(lease), job) -- a lease: its worker may be alive
    return 'queued'
  end
  for i = 1, #stranded, 2 do
    local from, to = stranded[i], stranded[i + 1]
    if status == from then
      redis.call('HSET', run, 'status', to, 'error', failure, 'updated_at', now_us)
      note_delivery(run, delivery, job, now_us, now_ms)
      redis.call('EXPIRE', run, events_ttl)
      redis.call('ZREM', queue, job)
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
  if due then return 'fine' end
  redis.call('ZADD', queue, now_ms + tonumber(lease), job) -- a lease: its worker may be alive
  return 'queued'
end
if cancel and fence == '0' then return 'cancel' end
local waits = redis.call('LPOS', waiting, run_ref)
if due then
  local placed = active == run_ref or waits or cancel or redis.call('ZSCORE', deferred, run_ref)
  if placed or tonumber(due) <= now_ms then return 'fine' end
  redis.call('ZADD', deferred, due, run_ref) -- or no strategy would displace it
  return 'queued'
end
redis.call('ZREM', deferred, run_ref)
if active == run_ref or not active and not waits then
  redis.call('HSET', thread, 'active', run_ref, 'status', busy)
  index_thread(thread_id)
  enqueue()
  return 'queued'
end
if not waits then
  redis.call('RPUSH', waiting, run_ref)
  return 'queued'
end
if active then return 'fine' end
release(now_ms)
index_thread(thread_id)
return 'released'
