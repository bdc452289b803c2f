--[[
  Close a thread to new runs before it is deleted.

  KEY  thread     hash
  KEY  retired    set
  KEY  runs       sorted set
  KEY  live       set
  KEY  expiring   sorted set
  ARG  thread_id
  ARG  when       'now'; 'idle': only if all its runs have ended; 'due': only if that is so and the thread has expired

  Returns 'retired', or without a change 'missing', 'rejudge' (parts/guard.lua), 'busy' or 'early'.
]]
-- with clock
-- with thread_index
-- with guard
if redis.call('EXISTS', thread) == 0 then return 'missing' end
if not guard_holds() then return 'rejudge' end
if when ~= 'now' then
  if when == 'due' then
    local due = redis.call('ZSCORE', expiring, thread_id)
    if not due or tonumber(due) > read_clock_ms() then return 'early' end
  end
  if redis.call('HEXISTS', thread, 'active') == 1 then return 'busy' end
  for _, run_id in ipairs(redis.call('ZRANGE', runs, 0, -1)) do -- deferred runs
    if redis.call('SISMEMBER', live, thread_id .. '/' .. run_id) == 1 then return 'busy' end
  end
end
redis.call('HDEL', thread, 'token') -- first, so that it also works when Redis is out of memory (renew.lua)
unlist_thread(thread_id)
redis.call('HSET', thread, 'retired', 1)
redis.call('SADD', retired, thread_id)
return 'retired'
