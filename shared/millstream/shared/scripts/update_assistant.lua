--[[
  Give an assistant a new version, which becomes the current one, if it is still what the caller has read.

  KEYS[1]  assistant   hash
  KEYS[2]  assistants  sorted set
  ARGV[1]  assistant id
  ARGV[2]  revision    as the caller read it; '' is a default assistant that has no record yet
  ARGV[3]  packed wire.Assistant, the new version
  ARGV[4]  packed wire.Assistant, the first version of one that has no record yet
  ARGV[5]  when it was announced, µs
  ARGV[6]  most        versions that are kept

  Returns the number of the version, or 0 with nothing changed: read it again.
]]
local revision = redis.call('HGET', KEYS[1], 'revision')
if (revision or '') ~= ARGV[2] then return 0 end
if not revision then
  redis.call('HSET', KEYS[1], 'created_at', ARGV[5], 'newest', 1, 'v:1', ARGV[4], 't:1', ARGV[5])
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1])
end
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local version = redis.call('HINCRBY', KEYS[1], 'newest', 1)
redis.call('HINCRBY', KEYS[1], 'revision', 1)
redis.call('HSET', KEYS[1], 'head', ARGV[3], 'version', version, 'updated_at', now_us,
  'v:' .. version, ARGV[3], 't:' .. version, now_us)
local oldest = version - tonumber(ARGV[6])
redis.call('HDEL', KEYS[1], 'v:' .. oldest, 't:' .. oldest)
return version
