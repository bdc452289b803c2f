--[[
  Create a thread, if there is none of that id.

  KEYS[1]  thread    hash
  KEYS[2]  expiring  sorted set
  KEYS[3…] the index of threads (thread_index.lua)
  ARGV[1]  token      names this request: sent again after a lost reply, it has the same answer
  ARGV[2]  thread id
  ARGV[3…] field, value, …

  Returns 1, or 0 when it was there and nothing changed.
]]
-- with expiry
-- with thread_index
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('HGET', KEYS[1], 'token') == ARGV[1] and 1 or 0
end
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'created_at', now_us, 'updated_at', now_us, 'state_updated_at', now_us, 'token',
  ARGV[1], unpack(ARGV, 3))
push_expiry(KEYS[1], KEYS[2], ARGV[2], math.floor(time[1] * 1000 + time[2] / 1000))
file_thread(KEYS[1], ARGV[2])
return 1
