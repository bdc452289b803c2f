--[[
  Look for due jobs by the clock of Redis: those that were deferred, or whose lease has lapsed,
  or whose wake-up was lost.

  KEYS[1]  queue  sorted set
  ARGV[1]  most

  Returns {ms until the next job is due, or -1 if none is queued, job id, job id, …}.
]]
local time = redis.call('TIME')
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms, 'LIMIT', 0, ARGV[1])
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now_ms, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
table.insert(ids, 1, later[2] and math.ceil(later[2] - now_ms) or -1)
return ids
