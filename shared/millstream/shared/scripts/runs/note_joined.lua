--[[
  Count a client that has come to follow a run, so that the farewell of one before it is not its end.

  KEY  run  hash

  Returns how many have come by now, or 0 when there is no such run.
]]
if redis.call('EXISTS', run) == 0 then return 0 end
redis.call('HDEL', run, '') -- there is none; first, so that it works without memory too (renew.lua)
return redis.call('HINCRBY', run, 'joined', 1)
