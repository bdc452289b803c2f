--[[
  Renew the lease of a running run.

  KEYS[1]  run    hash
  KEYS[2]  queue  sorted set
  ARGV[1]  job id
  ARGV[2]  fence
  ARGV[3]  lease    ms
  ARGV[4]  running  the status of a run that somebody holds

  Returns 'held', 'lost', or the cancel that has been asked for ('interrupt' …; the lease is renewed).
]]
local run = redis.call('HMGET', KEYS[1], 'fence', 'status', 'cancel', 'spared')
if run[1] ~= ARGV[2] or run[2] ~= ARGV[4] then return 'lost' end
local time = redis.call('TIME')
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)
-- Taken out first: a script whose first write frees memory may go on when Redis has none left.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[2], now_ms + tonumber(ARGV[3]), ARGV[1])
if run[4] then redis.call('HDEL', KEYS[1], 'spared') end -- claim.lua
return run[3] or 'held'
