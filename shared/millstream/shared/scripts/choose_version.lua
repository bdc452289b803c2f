--[[
  Make a version of an assistant the current one.

  KEYS[1]  assistant  hash
  ARGV[1]  version

  Returns 1, or 0 when there is no such version, and nothing changed.
]]
local version = redis.call('HGET', KEYS[1], 'v:' .. ARGV[1])
if not version then return 0 end
local time = redis.call('TIME')
redis.call('HINCRBY', KEYS[1], 'revision', 1)
redis.call('HSET', KEYS[1], 'head', version, 'version', ARGV[1],
  'updated_at', string.format('%.0f', time[1] * 1000000 + time[2]))
return 1
