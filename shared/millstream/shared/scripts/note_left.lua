--[[
  Mark that the client of a run's creating stream has left.

  KEYS[1]  run  hash
  ARGV[1]  mark

  Returns 1, or 0 when there is no such run.
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'left', ARGV[1])
return 1
