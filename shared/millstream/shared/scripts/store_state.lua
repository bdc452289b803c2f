--[[
  Store what changes a thread's state from outside of runs, whole or not at all: its checkpoints, what
  was written behind them, and the record of the thread, which is created with them if it is to be new.

  Nothing is locked meanwhile. The caller read the state at an epoch of the thread; every claim of a run
  and every update begins another, so what it read still holds if the epoch does and no run is active.

  KEYS[1]  thread      hash
  KEYS[2]  namespaces  set
  KEYS[3]  expiring    sorted set
  KEYS[4]  turns       sorted set, and the name of the thread's doorbell
  KEYS[5]  events      stream of this update, as a run has one
  KEYS[6…] of each namespace: index, records, references, values, writes; then the index of threads
           (thread_index.lua)
  ARGV[1]  token       names this update: sent again after a lost reply, it has the same answer
  ARGV[2]  epoch       of the thread when its state was read; '' for a thread that is to be new
  ARGV[3]  deadline    ms, by the clock of Redis: after it nobody waits for the answer any more
  ARGV[4]  thread id
  ARGV[5]  turn        the name of this update among the thread's turns
  ARGV[6]  told        JSON: what the thread's stream shows of it
  ARGV[7]  events' TTL s
  ARGV[8]  n           how many of the words that follow are the thread's
  ARGV[9…] field, value, … of the thread
  ARGV[9 + n] m        how many namespaces there are; then their names
  ARGV[10 + n + m…] key, field, value, …: what is stored where; key is a number from 6 on

  Returns 'stored', or with nothing changed: 'changed' (read the state again), 'busy' (a run is active),
  'late', 'missing' (there is no such thread) or 'exists' (it was to be new).
]]
-- with expiry
-- with thread_index
-- with turn
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)

local thread = redis.call('HMGET', KEYS[1], 'created_at', 'token', 'active', 'epoch', 'retired')
if thread[1] and thread[2] == ARGV[1] then return 'stored' end
if now_ms > tonumber(ARGV[3]) then return 'late' end
if ARGV[2] == '' then
  if thread[1] then return 'exists' end
  redis.call('HSET', KEYS[1], 'created_at', now_us)
else
  if not thread[1] or thread[5] then return 'missing' end
  if thread[3] then return 'busy' end
  if (thread[4] or '0') ~= ARGV[2] then return 'changed' end
end

redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'updated_at', now_us, 'state_updated_at', now_us, 'token', ARGV[1])
local last = 8 + ARGV[8]
for i = 9, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end

local names = last + 1 + ARGV[last + 1]
for i = last + 2, names do redis.call('SADD', KEYS[2], ARGV[i]) end
for i = names + 1, #ARGV, 3 do
  local key, value = tonumber(ARGV[i]), ARGV[i + 2]
  local kind = (key - 6) % 5 -- 1: a record, 4: writes behind a checkpoint
  if kind == 1 then redis.call('ZADD', KEYS[key - 1], 0, ARGV[i + 1]) end
  if kind == 4 then value = (redis.call('HGET', KEYS[key], ARGV[i + 1]) or '') .. value end
  redis.call('HSET', KEYS[key], ARGV[i + 1], value)
end
local turn = string.format('%d', next_turn(KEYS[1], KEYS[4], ARGV[5]))
redis.call('XADD', KEYS[5], turn .. '-1', 'state_update', ARGV[6], 'first', 1, 'at', now_ms)
redis.call('XADD', KEYS[5], turn .. '-2', 'end', '{}')
redis.call('EXPIRE', KEYS[5], ARGV[7])
push_expiry(KEYS[1], KEYS[3], ARGV[4], now_ms)
file_thread(KEYS[1], ARGV[4])
return 'stored'
