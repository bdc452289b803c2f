--[[
  Request the cancel of a run (parts/note_cancel.lua).

  KEY  run          hash
  ARG  job          job id
  ARG  action       'interrupt' or 'rollback'
  ARG  joined       for the cancel of a client that left: the number of clients that had joined the run when that client
                    did. If a client has joined since, the run is not cancelled. '' for any other cancel.
  ARG  reason       CancelReason (shared/rules/multitask.py)
  ARGS cancellable  statuses in which a run can be cancelled

  Returns the run's status; '' if the run does not exist, or a client has joined since; 'rejudge' without a change
  (parts/guard.lua). The first action stays.
]]
-- with clock
-- with note_cancel
-- with guard
local status, control, current_joined = unpack(redis.call('HMGET', run, 'status', 'control', 'joined'))
if status and not guard_holds() then return 'rejudge' end
if joined ~= '' and (current_joined or '0') ~= joined then return '' end
for _, each in ipairs(cancellable) do
  if status == each then note_cancel(run, job, action, control, reason, read_clock_ms()) end
end
return status or ''
