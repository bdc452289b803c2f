--[[
  Ask for the end of a run. The flag on the record is the truth; the publish is only for speed.

  KEYS[1]  run  hash
  ARGV[1]  job id
  ARGV[2]  action   'interrupt' or 'rollback'
  ARGV[3]  joined   '' or how many had come to follow the run when a client that now left did so:
                    nothing is done if others, or itself again, have come since
  ARGV[4…] statuses in which a run can still be cancelled

  Returns the run's status ('' if there is no such run, or nothing is done). The first action stays.
]]
local run = redis.call('HMGET', KEYS[1], 'status', 'control', 'joined')
if ARGV[3] ~= '' and (run[3] or '0') ~= ARGV[3] then return '' end
for i = 4, #ARGV do
  if run[1] == ARGV[i] then
    redis.call('HDEL', KEYS[1], 'unserved') -- first, so that it works without memory too (renew.lua)
    redis.call('HSETNX', KEYS[1], 'cancel', ARGV[2])
    if run[2] then redis.call('PUBLISH', run[2], ARGV[1]) end
  end
end
return run[1] or ''
