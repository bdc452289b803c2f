--[[
  Ask for the end of a run (note_cancel.lua).

  KEY  run          hash
  ARG  job          job id
  ARG  action       'interrupt' or 'rollback'
  ARG  joined       '' or how many had come to follow the run when a client that now left did so: nothing is done if
                    others, or itself again, have come since
  ARG  reason       why it is asked for, shown on the run
  ARGS cancellable  statuses in which a run can still be cancelled

  Returns the run's status ('' if there is no such run, or nothing is done). The first action stays.
]]
-- with note_cancel
local status, control, now_joined = unpack(redis.call('HMGET', run, 'status', 'control', 'joined'))
if joined ~= '' and (now_joined or '0') ~= joined then return '' end
for _, open in ipairs(cancellable) do
  if status == open then note_cancel(run, job, action, control, reason) end
end
return status or ''
