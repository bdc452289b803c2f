--[[
  Hand a running run back to the queue, due at once. Its attempt does not count, unless it crashed.

  KEY  run      hash
  KEY  queue    sorted set
  KEY  wake     list
  KEY  backlog  sorted set
  ARG  job      job id
  ARG  fence
  ARG  running  status of a run that a worker holds
  ARG  pending  status that the run gets
  ARG  crash    how the run crashed the process in which it was executed alone: the attempt then counts (claim.lua); ''
                for any other reason

  Returns 1, or 0 without a change if the caller lost the lease.
]]
-- with clock
-- with wake
local current, status, attempt = unpack(redis.call('HMGET', run, 'fence', 'status', 'attempt'))
if current ~= fence or status ~= running then return 0 end
redis.call('ZREM', queue, job) -- first, so that it also works when Redis is out of memory (renew.lua)
redis.call('HSET', run, 'status', pending)
if crash == '' then
  redis.call('HSET', run, 'attempt', attempt - 1)
else
  redis.call('HSET', run, 'crash', crash)
  redis.call('HINCRBY', run, 'crashes', 1)
end
local now_ms = read_clock_ms()
redis.call('ZADD', queue, now_ms, job)
redis.call('ZADD', backlog, now_ms, job)
push_wake(wake, job)
return 1
