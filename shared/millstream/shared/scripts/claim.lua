--[[
  Claim a due run for one worker: a lease, the next fence, and the first event of the attempt.

  KEYS[1]  queue    sorted set
  KEYS[2]  run      hash
  KEYS[3]  thread   hash
  KEYS[4]  waiting  list
  KEYS[5]  events   stream, and the name of its doorbell
  KEYS[6]  turns    sorted set, and the name of the thread's doorbell
  KEYS[7]  deferred sorted set
  KEYS[8…] the index of threads (thread_index.lua)
  ARGV[1]  job id
  ARGV[2]  run id
  ARGV[3]  control        the worker's channel, for cancels
  ARGV[4]  lease          ms
  ARGV[5]  most attempts  after which a run that ends its process is given up
  ARGV[6]  events' TTL    s, while the run runs
  ARGV[7]  busy           the status of a thread whose run runs
  ARGV[8]  ticket         what the thread holds of the run (keys.ticket)
  ARGV[9], ARGV[10]      from, to: the edge `claimed`
  ARGV[11], ARGV[12]      from, to: the edge `lapsed`, whose end is the start of `claimed`
  ARGV[13] token         names this claim: sent again after a lost reply, it has the same answer
  ARGV[14] protocol      the newest that the worker understands (shared/wire.py)
  ARGV[15] spare         ms; above 0 if Redis was away a short time ago: a lease that has lapsed is then
                         left to its holder for so much longer, as nobody could renew it; but once only,
                         until the holder has renewed it (renew.lua)
  ARGV[16…] graph ids    those that the worker serves

  Returns {'claimed', fence, attempt, spec, cancel or '', created_at, first, index, crashes, exhausted, crash}:
          the caller holds the lease; a run with a cancel, or one that is exhausted (1), is to be ended and
          not executed; first is 1 for the first claim of the run; index is that of its newest event
          (turn.lua); crashes is how many of its attempts ended their process, crash how the last one did;
          {'early', ms} for a job that is not due (it may be running elsewhere), or whose holder is spared;
          {'unserved', ms} for a run that this worker can't execute: left to others, looked at later;
          {'waits'} for a deferred run that has now joined its thread's FIFO;
          {'gone'} for a job that nobody needs to execute any more.
]]
-- with thread_index
-- with turn
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)

local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due then return {'gone'} end
local run = redis.call('HMGET', KEYS[2], 'status', 'fence', 'attempt', 'spec', 'cancel', 'created_at',
  'token', 'graph', 'protocol', 'first', 'index', 'spared', 'crashes', 'alone', 'crash')
local status = run[1]
local crashes = tonumber(run[13] or 0)

-- A lease that lapsed beside other runs may be the fault of any of them: it counts as one attempt, however
-- often it happens, and only for a run that has crashed a process in which nothing else ran.
local function is_exhausted(ended)
  local shared = ended > crashes and 1 or 0
  return crashes > 0 and crashes + shared >= tonumber(ARGV[5])
end

local left = tonumber(due) - now_ms
if status == ARGV[11] and run[7] == ARGV[13] then
  redis.call('ZADD', KEYS[1], now_ms + tonumber(ARGV[4]), ARGV[1]) -- the worker counts from when it asked
  return {'claimed', run[2], run[3], run[4], run[5] or '', run[6], tonumber(run[10]),
    tonumber(run[11] or 0), crashes, is_exhausted(run[3] - 1) and 1 or 0, run[15] or ''}
end
if left <= 0 and status == ARGV[11] and tonumber(ARGV[15]) > 0 and run[12] ~= run[2] then
  left = tonumber(ARGV[15])
  redis.call('HSET', KEYS[2], 'spared', run[2])
  redis.call('ZADD', KEYS[1], now_ms + left, ARGV[1])
end
if left > 0 then return {'early', string.format('%.0f', left)} end

if status == ARGV[11] then -- its lease has lapsed
  status = ARGV[12]
  if run[14] == run[2] then crashes = crashes + 1 end -- nothing else ran on that worker (run_alone.lua)
end
if status ~= ARGV[9] or redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return {'gone'}
end

local served = run[5] or not run[8] -- a cancel needs no graph
for i = 16, #ARGV do served = served or ARGV[i] == run[8] end
if not served or tonumber(run[9] or 0) > tonumber(ARGV[14]) then
  -- Looked at often at first, for a deploy may be under way; a run that nobody can execute is looked
  -- at ever less, so that it does not keep the workers from others.
  redis.call('HSETNX', KEYS[2], 'unserved', now_ms)
  local pause = math.floor((now_ms - redis.call('HGET', KEYS[2], 'unserved')) / 10)
  pause = math.max(100, math.min(60000, pause))
  redis.call('ZADD', KEYS[1], now_ms + pause, ARGV[1])
  return {'unserved', pause}
end

local active = redis.call('HGET', KEYS[3], 'active')
if active and active ~= ARGV[8] then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[7], ARGV[8])
  redis.call('RPUSH', KEYS[4], ARGV[8])
  return {'waits'}
end

-- Of the clock, so that a claim which Redis forgot in a crash never shares its fence with a later one.
local fence = string.format('%.0f', math.max(run[2] + 1, tonumber(now_us)))
local attempt = run[3] + 1
local first = run[2] == '0' and 1 or 0
local exhausted = is_exhausted(tonumber(run[3]))
redis.call('ZADD', KEYS[1], now_ms + tonumber(ARGV[4]), ARGV[1])
redis.call('HSETNX', KEYS[2], 'started_at', now_us)
redis.call('HSET', KEYS[2], 'status', ARGV[10], 'fence', fence, 'attempt', attempt, 'control', ARGV[3],
  'token', ARGV[13], 'first', first, 'crashes', crashes, 'updated_at', now_us)
redis.call('HSET', KEYS[3], 'active', ARGV[8], 'status', ARGV[7], 'updated_at', now_us)
if not active then redis.call('ZREM', KEYS[7], ARGV[8]) end -- it was deferred, and is due
file_thread(KEYS[3], ARGV[1]:match('^[^/]+'))
redis.call('HINCRBY', KEYS[3], 'epoch', 1) -- whatever was read of the thread's state before is old now
local next_id = ids_of(KEYS[2], KEYS[3], KEYS[6], ARGV[2])
if not run[5] and not exhausted then
  -- The mark tells a reader that nothing was trimmed away before it.
  redis.call('XADD', KEYS[5], next_id(), 'metadata', '{"run_id":"' .. ARGV[2] .. '","attempt":' .. attempt .. '}',
    'first', first, 'at', now_ms)
  redis.call('PUBLISH', KEYS[5], '')
end
redis.call('EXPIRE', KEYS[5], ARGV[6])
return {'claimed', fence, attempt, run[4], run[5] or '', run[6], first,
  tonumber(redis.call('HGET', KEYS[2], 'index') or 0), crashes, exhausted and 1 or 0, run[15] or ''}
