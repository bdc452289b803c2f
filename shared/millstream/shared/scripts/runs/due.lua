--[[
  Look for due jobs by the clock of Redis: those that were deferred, or whose lease has lapsed,
  or whose wake-up was lost.

  KEY  queue  sorted set
  ARG  limit

  Returns {ms until the next job is due, or -1 if none is queued, job id, job id, …}.
]]
-- with clock
local now_ms = read_clock_ms()
local ids = redis.call('ZRANGEBYSCORE', queue, '-inf', now_ms, 'LIMIT', 0, limit)
local later = redis.call('ZRANGEBYSCORE', queue, '(' .. now_ms, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
table.insert(ids, 1, later[2] and math.ceil(later[2] - now_ms) or -1)
return ids
