--[[
  Change a cron, if it is still what the caller has read.

  KEYS[1]  cron   hash
  KEYS[2]  crons  sorted set
  ARGV[1]  cron id
  ARGV[2]  version  as the caller read it
  ARGV[3]  due      ms, or '+inf'; '' leaves it, also if it has moved on meanwhile
  ARGV[4…] field, value, …

  Returns 'updated', or with nothing changed: 'missing' or 'changed' (read it again).
]]
local version = redis.call('HGET', KEYS[1], 'version')
if not version then return 'missing' end
if version ~= ARGV[2] then return 'changed' end
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'updated_at', now_us, 'version', version + 1, unpack(ARGV, 4))
if ARGV[3] ~= '' then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) end
return 'updated'
