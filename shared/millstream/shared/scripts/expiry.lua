-- Part of the scripts that say `with expiry`: a thread with a `ttl` is due so long after its last use.
local function push_expiry(thread, expiring, thread_id, now_ms)
  local ttl = redis.call('HGET', thread, 'ttl')
  if ttl then redis.call('ZADD', expiring, now_ms + tonumber(ttl), thread_id) end
end

