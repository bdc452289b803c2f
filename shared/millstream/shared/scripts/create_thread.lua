--[[
  Create a thread, if there is none of that id.

  KEYS[1]  thread  hash
  ARGV[1]  token  names this request: sent again after a lost reply, it has the same answer
  ARGV[2…] field, value, …

  Returns 1, or 0 when it was there and nothing changed.
]]
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('HGET', KEYS[1], 'token') == ARGV[1] and 1 or 0
end
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'created_at', now_us, 'updated_at', now_us, 'state_updated_at', now_us, 'token',
  unpack(ARGV))
return 1
