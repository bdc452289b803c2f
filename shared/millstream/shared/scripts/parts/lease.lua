--[[
  Return whether the caller may store something for a run: it holds the lease, and no rollback was requested, so that
  nothing is stored again after it was rolled back. A caller that writes outside of runs passes an empty fence, which is
  always allowed. `running` is the status of a run that a worker holds.
]]
local function may_store(run, fence, running)
  if fence == '' then return true end
  local current, status, cancel = unpack(redis.call('HMGET', run, 'fence', 'status', 'cancel'))
  return current == fence and status == running and cancel ~= 'rollback'
end

