-- Part of the scripts that say `with release`: frees a thread for its next run, if one waits.
local function release(thread, waiting, busy, now_ms)
  local next = redis.call('LPOP', waiting)
  if next then
    local job, queue, wake = next:match('^(%S+) (%S+) (%S+)')
    redis.call('HSET', thread, 'active', next, 'status', busy)
    redis.call('ZADD', queue, now_ms, job)
    redis.call('RPUSH', wake, job)
    redis.call('LTRIM', wake, -1000, -1) -- as in admit.lua
  else
    redis.call('HDEL', thread, 'active')
    redis.call('HSET', thread, 'status', redis.call('HGET', thread, 'settled') or 'idle')
  end
end

