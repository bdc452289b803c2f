--[[
  Ask for the end of a run (note_cancel.lua).

  KEYS[1]  run  hash
  ARGV[1]  job id
  ARGV[2]  action   'interrupt' or 'rollback'
  ARGV[3]  joined   '' or how many had come to follow the run when a client that now left did so:
                    nothing is done if others, or itself again, have come since
  ARGV[4]  reason   why it is asked for, shown on the run
  ARGV[5…] statuses in which a run can still be cancelled

  Returns the run's status ('' if there is no such run, or nothing is done). The first action stays.
]]
-- with note_cancel
local run = redis.call('HMGET', KEYS[1], 'status', 'control', 'joined')
if ARGV[3] ~= '' and (run[3] or '0') ~= ARGV[3] then return '' end
for i = 5, #ARGV do
  if run[1] == ARGV[i] then note_cancel(KEYS[1], ARGV[1], ARGV[2], run[2], ARGV[4]) end
end
return run[1] or ''
