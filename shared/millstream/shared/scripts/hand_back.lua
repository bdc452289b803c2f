--[[
  Hand a running run back to the queue, at once: without using up its attempt, or as crashed.

  KEYS[1]  run    hash
  KEYS[2]  queue  sorted set
  KEYS[3]  wake   list
  ARGV[1]  job id
  ARGV[2]  fence
  ARGV[3], ARGV[4]  from, to: the edge `handed back`
  ARGV[5]  crash   '' or, of a run that ended the process in which it was executed alone, how: the
                   attempt is used up (claim.lua)

  Returns 1, or 0 when the lease is another's and nothing changed.
]]
local run = redis.call('HMGET', KEYS[1], 'fence', 'status', 'attempt')
if run[1] ~= ARGV[2] or run[2] ~= ARGV[3] then return 0 end
local time = redis.call('TIME')
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)
redis.call('ZREM', KEYS[2], ARGV[1]) -- first, so that it works without memory too (renew.lua)
redis.call('HSET', KEYS[1], 'status', ARGV[4])
if ARGV[5] == '' then
  redis.call('HSET', KEYS[1], 'attempt', run[3] - 1)
else
  redis.call('HSET', KEYS[1], 'crash', ARGV[5])
  redis.call('HINCRBY', KEYS[1], 'crashes', 1)
end
redis.call('ZADD', KEYS[2], now_ms, ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('LTRIM', KEYS[3], -1000, -1)
return 1
