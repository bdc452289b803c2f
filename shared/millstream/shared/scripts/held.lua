-- Whether the run whose fence the caller gives is still the caller's, and may still store something:
-- what a rollback has undone stays so. An empty fence belongs to no run and is not asked for.
local function held(run, fence, running)
  if fence == '' then return true end
  local found = redis.call('HMGET', run, 'fence', 'status', 'cancel')
  return found[1] == fence and found[2] == running and found[3] ~= 'rollback'
end
