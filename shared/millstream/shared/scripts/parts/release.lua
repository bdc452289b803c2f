--[[
  Free a thread for its next run, if one waits.

  KEY  thread   hash
  KEY  waiting  list
  ARG  busy     the status of a thread that has a run
]]
-- with wake
local function release(now_ms)
  local following = redis.call('LPOP', waiting)
  if following then
    local job, queue, wake = following:match('^(%S+) (%S+) (%S+)')
    redis.call('HSET', thread, 'active', following, 'status', busy)
    redis.call('ZADD', queue, now_ms, job)
    push_wake(wake, job)
  else
    redis.call('HDEL', thread, 'active')
    redis.call('HSET', thread, 'status', redis.call('HGET', thread, 'idle_status') or 'idle')
  end
end

