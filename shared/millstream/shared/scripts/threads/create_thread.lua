--[[
  Create a thread, if there is none of that id.

  KEY  thread     hash
  ARG  token      names this request: sent again after a lost reply, it has the same answer
  ARG  thread_id
  ARGS fields     field, value, …

  Returns 1, or 0 when it was there and nothing changed.
]]
-- with clock
-- with expiry
-- with thread_index
if redis.call('EXISTS', thread) == 1 then
  return redis.call('HGET', thread, 'token') == token and 1 or 0
end
local now_us, now_ms = read_clock()
redis.call('HSET', thread, 'created_at', now_us, 'updated_at', now_us, 'state_updated_at', now_us, 'token',
  token, unpack(fields))
push_expiry(thread_id, now_ms)
index_thread(thread_id)
return 1
