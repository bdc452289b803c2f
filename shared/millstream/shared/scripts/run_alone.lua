--[[
  Note that a run which somebody holds is from now on the only one that its worker executes: if its lease
  lapses, the run itself ended the worker (claim.lua).

  KEYS[1]  run  hash
  ARGV[1]  fence
  ARGV[2]  running  the status of a run that somebody holds

  Returns 1, or 0 when the lease is another's and nothing changed.
]]
local run = redis.call('HMGET', KEYS[1], 'fence', 'status')
if run[1] ~= ARGV[1] or run[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'alone', ARGV[1])
return 1
