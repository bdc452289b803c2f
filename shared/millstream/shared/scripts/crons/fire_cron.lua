--[[
  Fire a cron: admit the run of one due time and set the next one, in one step, so that no due time gets two runs, and
  none is lost with the worker that read it.

  KEY  cron      hash
  KEY  crons     sorted set
  ARG  cron_id
  ARG  due       ms, as the caller read it
  ARG  version   of the cron that the run was built from
  ARG  next_due  ms, or '+inf' for never

  It also takes what parts/admission.lua declares.

  Returns what admit.lua returns: {'admitted', time of admission in µs, {run reference, …}}
          {'busy'}: this due time is skipped
          {'missing'}: the thread does not exist; the cron is deleted
          {'full'}, {'identity_full'}: nothing changed
          {'rejudge'}: nothing changed; the rights of the cron's creator must be judged again
          Or {'stale'} without a change: the cron is not due, another worker has fired it, or it was changed.
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
elseif reply[1] ~= 'full' and reply[1] ~= 'identity_full' and reply[1] ~= 'rejudge' then
  redis.call('ZADD', crons, next_due, cron_id)
end
return reply
