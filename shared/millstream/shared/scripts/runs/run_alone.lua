--[[
  Note that a run which a worker holds is from now on the only one that its worker executes: if its lease
  lapses, the run itself ended the worker (claim.lua).

  KEY  run      hash
  ARG  fence
  ARG  running  the status of a run that a worker holds

  Returns 1, or 0 when the lease is another's and nothing changed.
]]
local current, status = unpack(redis.call('HMGET', run, 'fence', 'status'))
if current ~= fence or status ~= running then return 0 end
redis.call('HSET', run, 'alone', fence)
return 1
