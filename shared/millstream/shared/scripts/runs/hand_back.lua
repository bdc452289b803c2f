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
  ARG  reason   why the worker gives the run up, for the journal
  ARG  crash    how the run crashed the process in which it was executed alone: the attempt then counts (claim.lua); ''
                for any other reason

  Returns 1, or 0 without a change if the caller lost the lease.
]]
-- with clock
-- with fair_queue
-- with journal
-- with wake
local current, status, attempt, journal, share =
  unpack(redis.call('HMGET', run, 'fence', 'status', 'attempt', 'journal', 'share'))
if current ~= fence or status ~= running then return 0 end
redis.call('ZREM', queue, job) -- first, so that it also works when Redis is out of memory (renew.lua)
local now_ms = read_clock_ms()
local line = string.format('handed_back %.0f %s', now_ms, reason)
if crash == '' then
  redis.call('HSET', run, 'attempt', attempt - 1)
else
  redis.call('HSET', run, 'crash', crash)
  redis.call('HINCRBY', run, 'crashes', 1)
  line = string.format('crashed %.0f %s', now_ms, crash:gsub('%c', ' '):sub(1, 200))
end
redis.call('HSET', run, 'status', pending, 'journal', with_line(journal, line))
enqueue(queue, job, share, now_ms, true)
redis.call('ZADD', backlog, now_ms, job)
push_wake(wake, job)
return 1
