--[[
  End a run: its status, its last events, its thread's status, and the next run's release.

  KEYS[1]  run      hash
  KEYS[2]  thread   hash
  KEYS[3]  runs     sorted set
  KEYS[4]  waiting  list
  KEYS[5]  events   stream, and the name of its doorbell
  KEYS[6]  queue    sorted set
  KEYS[7]  garbage  sorted set
  KEYS[8]  live     set
  KEYS[9]  undone   set
  KEYS[10] expiring sorted set
  KEYS[11] deliveries sorted set
  KEYS[12] delivery   hash
  KEYS[13] turns      sorted set, and the name of the thread's doorbell
  KEYS[14…] the index of threads (thread_index.lua)
  ARGV[1]  job id
  ARGV[2]  run id
  ARGV[3]  ticket          what the thread holds of the run (keys.ticket)
  ARGV[4]  fence           '' when the caller holds no lease (it ends a pending run)
  ARGV[5]  yields          '1' when a cancel that was asked for goes before this cause; '' when this is
                           the cancel: of a 'rollback' the record goes too, and what it noted
  ARGV[6]  events' TTL     s after the end
  ARGV[7]  temporary       '1' when the thread goes with its last run
  ARGV[8]  busy            the thread's status while another run waits
  ARGV[9]  error           JSON of the error for the record, '' if none
  ARGV[10], ARGV[11]       from, to: the edge of this cause (shared/lifecycle.py)
  ARGV[12] output          JSON that wait and join answer with, kept with the end event
  ARGV[13] delivery's TTL  s
  ARGV[14] after           the index of the newest event that the caller knows of (append.lua)
  ARGV[15] n               how many of the words that follow are the thread's
  ARGV[16…] field, value, …      of the thread: settled (its status when no run is left), values, interrupts, error
  ARGV[16 + n…] event name, JSON data, …   appended before the end

  Returns {'finished', status}, {'cancelled', action} (a cancel goes first; nothing was written),
          {'fenced'} (the lease is another's) or {'refused', status or ''} (the run is not where the edge starts).
]]
-- with release
-- with outbox
-- with turn
-- with expiry
-- with thread_index
local run = redis.call('HMGET', KEYS[1], 'status', 'fence', 'cancel', 'config_before')
if ARGV[4] ~= '' and run[1] and run[2] ~= ARGV[4] then return {'fenced'} end
if run[1] ~= ARGV[10] then return {'refused', run[1] or ''} end
if ARGV[5] == '1' and run[3] then return {'cancelled', run[3]} end
local forget = ARGV[5] == '' and run[3] == 'rollback'
if forget and ARGV[4] == '' and run[2] ~= '0' then return {'refused', run[1]} end -- a worker must undo it first

local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)

redis.call('ZREM', KEYS[6], ARGV[1]) -- first, so that it works without memory too (renew.lua)
local status = ARGV[11]
local first_event = 16 + ARGV[15]
redis.call('HSET', KEYS[1], 'status', status, 'updated_at', now_us)
if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'error', ARGV[9]) end
local next_id = ids_of(KEYS[1], KEYS[2], KEYS[13], ARGV[2], ARGV[14])
for i = first_event, #ARGV, 2 do redis.call('XADD', KEYS[5], next_id(), ARGV[i], ARGV[i + 1]) end
redis.call('XADD', KEYS[5], next_id(), 'end', '{"status":"' .. status .. '"}', 'output', ARGV[12], 'at', now_ms)
redis.call('EXPIRE', KEYS[5], ARGV[6])
redis.call('PUBLISH', KEYS[5], '')
redis.call('SREM', KEYS[8], ARGV[1])

if redis.call('HGET', KEYS[2], 'active') ~= ARGV[3] then
  redis.call('LREM', KEYS[4], -1, ARGV[3]) -- it never had its turn: nobody waits for it
else
  if ARGV[15] ~= '0' then
    redis.call('HSET', KEYS[2], 'updated_at', now_us, 'state_updated_at', now_us, unpack(ARGV, 16, first_event - 1))
  end
  release(KEYS[2], KEYS[4], ARGV[8], now_ms)
  file_thread(KEYS[2], ARGV[1]:match('^[^/]+'))
end
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[13]) end -- its thread was lost
note_delivery(KEYS[1], KEYS[2], KEYS[11], KEYS[12], ARGV[1], now_us, now_ms, ARGV[13],
  ARGV[9] == '' and ARGV[12] or '')
if forget then
  if run[4] == '' then redis.call('HDEL', KEYS[2], 'config') end -- what the run noted (note_config.lua)
  if run[4] and run[4] ~= '' and redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('HSET', KEYS[2], 'config', run[4])
  end
  redis.call('ZREM', KEYS[3], ARGV[2])
  redis.call('DEL', KEYS[1])
  redis.call('SADD', KEYS[9], ARGV[2])
  redis.call('EXPIRE', KEYS[9], ARGV[6])
end
push_expiry(KEYS[2], KEYS[10], ARGV[1]:match('^[^/]+'), now_ms)
if ARGV[7] == '1' then
  redis.call('EXPIRE', KEYS[1], ARGV[6])
  redis.call('ZREM', KEYS[3], ARGV[2])
  if redis.call('EXISTS', KEYS[3]) == 0 then
    redis.call('DEL', KEYS[2], KEYS[4], KEYS[13])
    redis.call('PUBLISH', KEYS[13], '')
    redis.call('ZREM', KEYS[10], ARGV[1]:match('^[^/]+'))
    redis.call('ZADD', KEYS[7], now_ms, ARGV[1])
  end
end
return {'finished', status}
