--[[
  Whether the caller's lease on the run still holds, and the run may still store something: what a rollback has rolled_back
  stays so. A caller that is no run gives an empty fence, which is always allowed. `running` is the status of a run
  that a worker holds.
]]
local function may_store(run, fence, running)
  if fence == '' then return true end
  local current, status, cancel = unpack(redis.call('HMGET', run, 'fence', 'status', 'cancel'))
  return current == fence and status == running and cancel ~= 'rollback'
end

