--[[
  Make the next waiting run of a thread active and wake a worker for it; without one, the thread becomes idle.

  KEY  thread   hash
  KEY  waiting  list
  ARG  busy     status of a thread that has an active run
]]
-- with wake
local function release(now_ms)
  local next_ref = redis.call('LPOP', waiting)
  if next_ref then
    local job, queue, wake, record = next_ref:match('^(%S+) (%S+) (%S+) (%S+)')
    local its_backlog = redis.call('HGET', record, 'backlog')
    redis.call('HSET', thread, 'active', next_ref, 'status', busy)
    redis.call('ZADD', queue, now_ms, job)
    if its_backlog then redis.call('ZADD', its_backlog, now_ms, job) end
    push_wake(wake, job)
  else
    redis.call('HDEL', thread, 'active')
    redis.call('HSET', thread, 'status', redis.call('HGET', thread, 'idle_status') or 'idle')
  end
end

