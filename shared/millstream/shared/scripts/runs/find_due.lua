--[[
  Find the due jobs of a queue by the clock of Redis: jobs that have a tag (parts/fair_queue.lua), deferred jobs, jobs
  whose lease has lapsed, and jobs whose wake-up was lost. It changes nothing.

  KEY  queue         sorted set
  KEY  paused        hash
  ARG  limit         number of jobs with a tag
  ARG  max_untagged  number of others

  Returns {ms until the next job is due or -1 if there is none, number of due jobs without a tag, job id, job id, …}:
          first the jobs without a tag, by the time at which they became due, then the others by their tags
          {-1, 0} for a paused queue
]]
-- with clock
if redis.call('EXISTS', paused) == 1 then return {-1, 0} end
local now_ms = read_clock_ms()
local untagged = redis.call('ZRANGEBYSCORE', queue, 0, now_ms, 'LIMIT', 0, max_untagged)
local tagged = redis.call('ZRANGEBYSCORE', queue, '-inf', '(0', 'LIMIT', 0, limit)
local later = redis.call('ZRANGEBYSCORE', queue, '(' .. now_ms, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local reply = {later[2] and math.ceil(later[2] - now_ms) or -1, #untagged}
for _, job in ipairs(untagged) do reply[#reply + 1] = job end
for _, job in ipairs(tagged) do reply[#reply + 1] = job end
return reply
