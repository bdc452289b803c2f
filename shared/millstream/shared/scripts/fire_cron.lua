--[[
  Fire a cron: admit the run of one due time and move on to the next, in one step, so that no due time
  has two runs, or is lost with the worker that saw it.

  KEYS[1]  cron   hash
  KEYS[2]  crons  sorted set
  KEYS[3]  crons  set, of its thread
  KEYS[4…] those of admit.lua
  ARGV[1]  cron id
  ARGV[2]  due      ms, as the caller saw it
  ARGV[3]  version  of the cron that the run is made of
  ARGV[4]  next     ms when it is due after that, or '+inf'
  ARGV[5…] those of admit.lua

  Returns what admit.lua does: {'admitted', now in µs, {ticket, …}}; {'busy'}: this
          due time is passed over; {'missing'}: the cron is gone, as its thread is; {'full'}: nothing changed.
          Or {'stale'}, with nothing changed: it is not due, was fired by another or has been changed.
]]
-- with release
-- with outbox
-- with turn
-- with expiry
-- with thread_index
-- with ticket
-- with note_cancel
-- with ending
-- with displacement
-- with admission
-- with forget_cron
local due = redis.call('ZSCORE', KEYS[2], ARGV[1])
local time = redis.call('TIME')
if not due or tonumber(due) ~= tonumber(ARGV[2]) or tonumber(due) > time[1] * 1000 + time[2] / 1000
  or redis.call('HGET', KEYS[1], 'version') ~= ARGV[3] then return {'stale'} end
local reply = admission({unpack(KEYS, 4)}, {unpack(ARGV, 5)})
if reply[1] == 'missing' then
  forget_cron(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
elseif reply[1] ~= 'full' then
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
end
return reply
