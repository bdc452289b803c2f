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
  KEYS[14] deferred   sorted set
  KEYS[15…] the index of threads (thread_index.lua)
  ARGV[1]  job id
  ARGV[2]  run id
  ARGV[3]  ticket          what the thread holds of the run (keys.ticket)
  ARGV[4]  fence           '' when the caller holds no lease (it ends a pending run)
  ARGV[5]  yields          '1' when a cancel that was asked for goes before this cause; '' when this is
                           the cancel: of a 'rollback' the record goes too, and what it noted
  ARGV[6]  events' TTL     s after the end
  ARGV[7]  busy            the thread's status while another run waits
  ARGV[8]  error           JSON of the error for the record, '' if none
  ARGV[9], ARGV[10]        from, to: the edge of this cause (shared/lifecycle.py)
  ARGV[11] output          JSON that wait and join answer with, kept with the end event
  ARGV[12] delivery's TTL  s
  ARGV[13] after           the index of the newest event that the caller knows of (append.lua)
  ARGV[14] n               how many of the words that follow are the thread's
  ARGV[15…] field, value, …      of the thread: settled (its status when no run is left), values, interrupts, error
  ARGV[15 + n…] event name, JSON data, …   appended before the end

  Returns {'finished', status}, {'cancelled', action} (a cancel goes first; nothing was written),
          {'fenced'} (the lease is another's) or {'refused', status or ''} (the run is not where the edge starts).
]]
-- with release
-- with outbox
-- with turn
-- with expiry
-- with thread_index
-- with ending
local run = redis.call('HMGET', KEYS[1], 'status', 'fence', 'cancel')
if ARGV[4] ~= '' and run[1] and run[2] ~= ARGV[4] then return {'fenced'} end
if run[1] ~= ARGV[9] then return {'refused', run[1] or ''} end
if ARGV[5] == '1' and run[3] then return {'cancelled', run[3]} end
local forget = ARGV[5] == '' and run[3] == 'rollback'
if forget and ARGV[4] == '' and run[2] ~= '0' then return {'refused', run[1]} end -- a worker must undo it first

local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)

redis.call('ZREM', KEYS[6], ARGV[1]) -- first, so that it works without memory too (renew.lua)
local first_event = 15 + ARGV[14]
if redis.call('HGET', KEYS[2], 'active') ~= ARGV[3] then -- it never had its turn: nobody waits for it
  redis.call('LREM', KEYS[4], -1, ARGV[3])
  redis.call('ZREM', KEYS[14], ARGV[3])
else
  if ARGV[14] ~= '0' then
    redis.call('HSET', KEYS[2], 'updated_at', now_us, 'state_updated_at', now_us, unpack(ARGV, 15, first_event - 1))
  end
  release(KEYS[2], KEYS[4], ARGV[7], now_ms)
  file_thread(KEYS[2], ARGV[1]:match('^[^/]+'))
end
end_run({job = ARGV[1], record = KEYS[1], events = KEYS[5], delivery = KEYS[12]},
  {thread = KEYS[2], runs = KEYS[3], waiting = KEYS[4], deferred = KEYS[14], turns = KEYS[13], undone = KEYS[9],
    live = KEYS[8], garbage = KEYS[7], expiring = KEYS[10], deliveries = KEYS[11]},
  {status = ARGV[10], error = ARGV[8], output = ARGV[11], after = ARGV[13], words = ARGV, first = first_event,
    forget = forget, events_ttl = ARGV[6], delivery_ttl = ARGV[12], now_us = now_us, now_ms = now_ms})
return {'finished', ARGV[10]}
