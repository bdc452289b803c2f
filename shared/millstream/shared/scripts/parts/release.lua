--[[
  Make the next waiting run of a thread active and wake a worker for it; without one, the thread becomes idle.

  KEY  thread   hash
  KEY  waiting  list
  ARG  busy     status of a thread that has an active run
]]
-- with wake
-- with fair_queue
local function release(now_ms)
  local next_ref = redis.call('LPOP', waiting)
  if next_ref then
    local job, queue, wake, record = next_ref:match('^(%S+) (%S+) (%S+) (%S+)')
    local its_backlog, share, fence = unpack(redis.call('HMGET', record, 'backlog', 'share', 'fence'))
    redis.call('HSET', thread, 'active', next_ref, 'status', busy)
    enqueue(queue, job, share, now_ms, fence ~= '0')
    if its_backlog then redis.call('ZADD', its_backlog, now_ms, job) end
    push_wake(wake, job)
  else
    redis.call('HDEL', thread, 'active')
    redis.call('HSET', thread, 'status', redis.call('HGET', thread, 'idle_status') or 'idle')
  end
end

