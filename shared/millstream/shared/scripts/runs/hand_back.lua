--[[
  Hand a running run back to the queue, at once: without using up its attempt, or as crashed.

  KEY  run      hash
  KEY  queue    sorted set
  KEY  wake     list
  ARG  job      job id
  ARG  fence
  ARG  running  the status of a run that a worker holds
  ARG  pending  the status that it gets
  ARG  crash    '' or, of a run that ended the process in which it was executed alone, how: the attempt is used up
                (claim.lua)

  Returns 1, or 0 when the lease is another's and nothing changed.
]]
-- with clock
-- with wake
local current, status, attempt = unpack(redis.call('HMGET', run, 'fence', 'status', 'attempt'))
if current ~= fence or status ~= running then return 0 end
redis.call('ZREM', queue, job) -- first, so that it works without memory too (renew.lua)
redis.call('HSET', run, 'status', pending)
if crash == '' then
  redis.call('HSET', run, 'attempt', attempt - 1)
else
  redis.call('HSET', run, 'crash', crash)
  redis.call('HINCRBY', run, 'crashes', 1)
end
redis.call('ZADD', queue, read_clock_ms(), job)
push_wake(wake, job)
return 1
