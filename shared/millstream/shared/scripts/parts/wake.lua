--[[
  Wake a worker for a job that is due. The list is cut: saturated workers leave its entries where they are, and the
  scan for due jobs (due.lua) finds the jobs whose entries were cut off.
]]
local function push_wake(wake, job)
  redis.call('RPUSH', wake, job)
  redis.call('LTRIM', wake, -1000, -1)
end

