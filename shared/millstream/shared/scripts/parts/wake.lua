--[[
  Wake a worker for a job that is due. The list keeps 1000 entries, because busy workers do not pop them; the scan for
  due jobs (find_due.lua) finds the jobs whose entries were trimmed.
]]
local function push_wake(wake, job)
  redis.call('RPUSH', wake, job)
  redis.call('LTRIM', wake, -1000, -1)
end

