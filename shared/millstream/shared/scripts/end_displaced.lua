--[[
  End runs of a thread that an admission displaced and left to its caller (displacement.lua): they are marked, and
  nobody holds them. A run that has ended meanwhile is passed over.

  KEYS[1]  thread      hash
  KEYS[2]  runs        sorted set
  KEYS[3]  live        set
  KEYS[4]  undone      set
  KEYS[5]  garbage     sorted set
  KEYS[6]  expiring    sorted set
  KEYS[7]  deliveries  sorted set
  KEYS[8]  turns       sorted set, and the name of the thread's doorbell
  KEYS[9]  waiting     list
  KEYS[10] deferred    sorted set
  ARGV[1], ARGV[2]     from, to: the edge of a pending run that is cancelled (shared/lifecycle.py)
  ARGV[3]  events' TTL      s after the end
  ARGV[4]  delivery's TTL   s
  ARGV[5…] tickets          (keys.ticket)

  Returns how many were ended.
]]
-- with outbox
-- with turn
-- with expiry
-- with ticket
-- with ending
local time = redis.call('TIME')
local keys = {thread = KEYS[1], runs = KEYS[2], live = KEYS[3], undone = KEYS[4], garbage = KEYS[5],
  expiring = KEYS[6], deliveries = KEYS[7], turns = KEYS[8], waiting = KEYS[9],
  deferred = KEYS[10]}
local told = {status = ARGV[2], error = '', output = '', words = {}, first = 1, events_ttl = ARGV[3], delivery_ttl = ARGV[4],
  now_us = string.format('%.0f', time[1] * 1000000 + time[2]),
  now_ms = math.floor(time[1] * 1000 + time[2] / 1000)}
local ended = 0
for i = 5, #ARGV do
  local run = read_ticket(ARGV[i])
  local found = run and redis.call('HMGET', run.record, 'status', 'fence', 'cancel') or {}
  told.forget = found[3] == 'rollback'
  if found[1] == ARGV[1] and found[3] and not (told.forget and found[2] ~= '0') then
    redis.call('ZREM', run.queue, run.job) -- first, so that it works without memory too (renew.lua)
    end_run(run, keys, told)
    ended = ended + 1
  end
end
return ended
