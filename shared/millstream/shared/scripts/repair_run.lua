--[[
  Put a run right that nothing would ever move on: what a loss of data, an eviction or a deleted key
  left behind. A run that is where it should be is left alone, whatever the caller saw before.

  KEYS[1]  run      hash
  KEYS[2]  thread   hash
  KEYS[3]  waiting  list
  KEYS[4]  events   stream, and the name of its doorbell
  KEYS[5]  queue    sorted set
  KEYS[6]  wake     list
  KEYS[7]  live     set
  KEYS[8]  runs     sorted set
  KEYS[9]  garbage  sorted set
  KEYS[10] deliveries sorted set
  KEYS[11] delivery hash
  KEYS[12] turns   sorted set
  KEYS[13] deferred sorted set
  KEYS[14…] the index of threads (thread_index.lua)
  ARGV[1]  job id
  ARGV[2]  ticket      what the thread holds of the run (keys.ticket)
  ARGV[3]  pending     a status
  ARGV[4]  running     a status
  ARGV[5]  busy        the thread's status while it has a run
  ARGV[6]  lease       ms in which a worker that holds the run will have renewed
  ARGV[7]  events' TTL s after the end
  ARGV[8]  error       JSON of the error of a run whose thread is gone
  ARGV[9]  delivery's TTL  s
  ARGV[10…] from, to, … the edges `stranded`

  Returns 'fine'; 'cancel' for a pending run that the caller is to end as cancelled; or what was done:
  'ended' (it had ended: what still spoke of it is gone), 'stranded' (ended, for its thread is gone),
  'queued' (it has its place again), 'released' (the thread's next run has its turn).
]]
-- with release
-- with outbox
-- with turn
-- with thread_index
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)

local function next_id()
  return ids_of(KEYS[1], KEYS[2], KEYS[12], ARGV[1]:match('[^/]+$'))()
end

local function write_end(status)
  redis.call('XADD', KEYS[4], next_id(), 'end', '{"status":"' .. status .. '"}', 'at', now_ms)
  redis.call('EXPIRE', KEYS[4], ARGV[7])
  redis.call('PUBLISH', KEYS[4], '')
end

local thread_id = ARGV[1]:match('^[^/]+')

local function enqueue()
  redis.call('ZADD', KEYS[5], now_ms, ARGV[1])
  redis.call('RPUSH', KEYS[6], ARGV[1])
  redis.call('LTRIM', KEYS[6], -1000, -1)
end

local run = redis.call('HMGET', KEYS[1], 'status', 'fence', 'cancel')
local status = run[1]
local active = redis.call('HGET', KEYS[2], 'active')
local due = redis.call('ZSCORE', KEYS[5], ARGV[1])

if status ~= ARGV[3] and status ~= ARGV[4] then
  local alive = redis.call('SREM', KEYS[7], ARGV[1])
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('LREM', KEYS[3], 0, ARGV[2])
  redis.call('ZREM', KEYS[13], ARGV[2])
  local newest = status and redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]
  local open = newest and newest[2][1] ~= 'end'
  if open then write_end(status) end
  if active == ARGV[2] then
    release(KEYS[2], KEYS[3], ARGV[5], now_ms)
    file_thread(KEYS[2], thread_id)
  elseif alive == 0 and not due and not open then
    return 'fine'
  end
  return 'ended'
end

redis.call('SADD', KEYS[7], ARGV[1])
local held = status == ARGV[4] and due and tonumber(due) > now_ms
if redis.call('EXISTS', KEYS[2]) == 0 and not held then
  if status == ARGV[4] and not due and redis.call('HSETNX', KEYS[1], 'missed', 1) == 1 then
    redis.call('ZADD', KEYS[5], now_ms + tonumber(ARGV[6]), ARGV[1]) -- a lease: its worker may be alive
    return 'queued'
  end
  for i = 10, #ARGV, 2 do
    if status == ARGV[i] then
      redis.call('HSET', KEYS[1], 'status', ARGV[i + 1], 'error', ARGV[8], 'updated_at', now_us)
      note_delivery(KEYS[1], KEYS[2], KEYS[10], KEYS[11], ARGV[1], now_us, now_ms, ARGV[9])
      redis.call('EXPIRE', KEYS[1], ARGV[7])
      redis.call('ZREM', KEYS[5], ARGV[1])
      redis.call('SREM', KEYS[7], ARGV[1])
      redis.call('DEL', KEYS[3], KEYS[8], KEYS[12], KEYS[13])
      redis.call('ZADD', KEYS[9], now_ms, ARGV[1]) -- its checkpoints
      redis.call('XADD', KEYS[4], next_id(), 'error', ARGV[8], 'first', run[2] == '0' and 1 or '')
      write_end(ARGV[i + 1])
      return 'stranded'
    end
  end
end

if status == ARGV[4] then
  if due then return 'fine' end
  redis.call('ZADD', KEYS[5], now_ms + tonumber(ARGV[6]), ARGV[1]) -- a lease: its worker may be alive
  return 'queued'
end
if run[3] and run[2] == '0' then return 'cancel' end
local waits = redis.call('LPOS', KEYS[3], ARGV[2])
if due then
  local placed = active == ARGV[2] or waits or run[3] or redis.call('ZSCORE', KEYS[13], ARGV[2])
  if placed or tonumber(due) <= now_ms then return 'fine' end
  redis.call('ZADD', KEYS[13], due, ARGV[2]) -- or no strategy would displace it
  return 'queued'
end
redis.call('ZREM', KEYS[13], ARGV[2])
if active == ARGV[2] or not active and not waits then
  redis.call('HSET', KEYS[2], 'active', ARGV[2], 'status', ARGV[5])
  file_thread(KEYS[2], thread_id)
  enqueue()
  return 'queued'
end
if not waits then
  redis.call('RPUSH', KEYS[3], ARGV[2])
  return 'queued'
end
if active then return 'fine' end
release(KEYS[2], KEYS[3], ARGV[5], now_ms)
file_thread(KEYS[2], thread_id)
return 'released'
