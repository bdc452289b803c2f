--[[
  A thread with a `ttl` is due for deletion so long after its last use.

  KEY  thread    hash
  KEY  expiring  sorted set
]]
local function push_expiry(thread_id, now_ms)
  local ttl = redis.call('HGET', thread, 'ttl')
  if ttl then redis.call('ZADD', expiring, now_ms + tonumber(ttl), thread_id) end
end

