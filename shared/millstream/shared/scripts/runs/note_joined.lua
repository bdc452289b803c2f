--[[
  Count a client that joins a run, so that the run is not cancelled when an earlier client leaves (cancel.lua).

  KEY  run  hash

  Returns the number of clients that have joined, or 0 if the run does not exist.
]]
if redis.call('EXISTS', run) == 0 then return 0 end
-- A field that never exists. First, so that the script also works when Redis is out of memory (renew.lua).
redis.call('HDEL', run, '')
return redis.call('HINCRBY', run, 'joined', 1)
