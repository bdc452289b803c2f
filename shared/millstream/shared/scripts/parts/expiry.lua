--[[
  Postpone the expiry of a thread that has a `ttl`: the thread was used now.

  KEY  thread    hash
  KEY  expiring  sorted set
]]
local function push_expiry(thread_id, now_ms)
  local ttl = redis.call('HGET', thread, 'ttl')
  if ttl then redis.call('ZADD', expiring, now_ms + tonumber(ttl), thread_id) end
end

