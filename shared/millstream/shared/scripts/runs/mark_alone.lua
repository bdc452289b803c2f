--[[
  Mark a run as the only one that its worker executes from now on. If its lease lapses, the run itself crashed the
  worker (claim.lua).

  KEY  run      hash
  ARG  fence
  ARG  running  status of a run that a worker holds

  Returns 1, or 0 without a change if the caller lost the lease.
]]
local current, status = unpack(redis.call('HMGET', run, 'fence', 'status'))
if current ~= fence or status ~= running then return 0 end
redis.call('HSET', run, 'alone', fence)
return 1
