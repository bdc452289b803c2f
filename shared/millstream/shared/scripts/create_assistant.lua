--[[
  Create an assistant.

  KEYS[1]  assistant   hash
  KEYS[2]  assistants  sorted set
  ARGV[1]  assistant id
  ARGV[2]  packed wire.Assistant

  Returns 1, or 0 when there is one of that id, and nothing changed.
]]
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'head', ARGV[2], 'version', 1, 'newest', 1, 'revision', 0, 'created_at', now_us,
  'updated_at', now_us, 'v:1', ARGV[2], 't:1', now_us)
redis.call('ZADD', KEYS[2], now_us, ARGV[1])
return 1
