--[[
  Fire a cron: admit the run of one due time and move on to the next, in one step, so that no due time
  has two runs, or is lost with the worker that saw it.

  KEY  cron      hash
  KEY  crons     sorted set
  ARG  cron_id
  ARG  due       ms, as the caller saw it
  ARG  version   of the cron that the run is made of
  ARG  next_due  ms when it is due after that, or '+inf'

  It also takes what parts/admission.lua declares, of the run.

  Returns what admit.lua does: {'admitted', now in µs, {run_ref, …}}; {'busy'}: this
          due time is passed over; {'missing'}: the cron is gone, as its thread is; {'full'}: nothing changed.
          Or {'stale'}, with nothing changed: it is not due, was fired by another or has been changed.
]]
-- with clock
-- with forget_cron
local function admit()
-- with admission
end

local current = redis.call('ZSCORE', crons, cron_id)
if not current or tonumber(current) ~= tonumber(due) or tonumber(current) > read_clock_ms()
  or redis.call('HGET', cron, 'version') ~= version then return {'stale'} end
local reply = admit()
if reply[1] == 'missing' then
  forget_cron()
elseif reply[1] ~= 'full' then
  redis.call('ZADD', crons, next_due, cron_id)
end
return reply
