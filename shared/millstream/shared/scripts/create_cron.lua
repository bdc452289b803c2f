--[[
  Create a cron, on a thread that is there and stays.

  KEYS[1]  cron     hash
  KEYS[2]  crons    sorted set
  KEYS[3]  thread   hash; without a thread the last two are left out
  KEYS[4]  crons    set, of the thread
  ARGV[1]  cron id
  ARGV[2]  due      ms, or '+inf'
  ARGV[3…] field, value, … of the cron

  Returns its time of creation in µs, or '' with nothing changed: there is no such thread.
  A repeat with the same cron id changes nothing and has the same answer.
]]
local created = redis.call('HGET', KEYS[1], 'created_at')
if created then return created end
if KEYS[3] then
  if redis.call('EXISTS', KEYS[3]) == 0 or redis.call('HEXISTS', KEYS[3], 'retired') == 1 then return '' end
  redis.call('SADD', KEYS[4], ARGV[1])
end
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'created_at', now_us, 'updated_at', now_us, 'version', 0, unpack(ARGV, 3))
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
return now_us
