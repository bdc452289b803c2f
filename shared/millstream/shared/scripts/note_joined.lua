--[[
  Count a client that has come to follow a run, so that the farewell of one before it is not its end.

  KEYS[1]  run  hash

  Returns how many have come by now, or 0 when there is no such run.
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[1], '') -- there is none; first, so that it works without memory too (renew.lua)
return redis.call('HINCRBY', KEYS[1], 'joined', 1)
