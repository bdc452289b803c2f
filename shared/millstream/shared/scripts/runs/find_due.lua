--[[
  Find the due jobs of a queue by the clock of Redis: deferred jobs, jobs whose lease has lapsed, and jobs whose wake-up
  was lost. It changes nothing.

  KEY  queue   sorted set
  KEY  paused  hash
  ARG  limit   number of jobs

  Returns {ms until the next job is due or -1 if there is none, job id, job id, …}; {-1} for a paused queue.
]]
-- with clock
if redis.call('EXISTS', paused) == 1 then return {-1} end
local now_ms = read_clock_ms()
local ids = redis.call('ZRANGEBYSCORE', queue, '-inf', now_ms, 'LIMIT', 0, limit)
local later = redis.call('ZRANGEBYSCORE', queue, '(' .. now_ms, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
table.insert(ids, 1, later[2] and math.ceil(later[2] - now_ms) or -1)
return ids
