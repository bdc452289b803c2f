--[[
  Create a thread, unless one has that id.

  KEY  thread     hash
  ARG  token      identifies this request: a repeat after a lost reply gets the same reply
  ARG  thread_id
  ARGS fields     field, value, …

  Returns 1, or 0 without a change if the thread exists.
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
