--[[
  Hand a running run back to the queue, at once and without using up its attempt.

  KEYS[1]  run    hash
  KEYS[2]  queue  sorted set
  KEYS[3]  wake   list
  ARGV[1]  job id
  ARGV[2]  fence
  ARGV[3], ARGV[4]  from, to: the edge `handed back`

  Returns 1, or 0 when the lease is another's and nothing changed.
]]
local run = redis.call('HMGET', KEYS[1], 'fence', 'status', 'attempt')
if run[1] ~= ARGV[2] or run[2] ~= ARGV[3] then return 0 end
local time = redis.call('TIME')
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)
redis.call('ZREM', KEYS[2], ARGV[1]) -- first, so that it works without memory too (renew.lua)
redis.call('HSET', KEYS[1], 'status', ARGV[4], 'attempt', run[3] - 1)
redis.call('ZADD', KEYS[2], now_ms, ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('LTRIM', KEYS[3], -1000, -1)
return 1
