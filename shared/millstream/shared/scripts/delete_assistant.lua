--[[
  Delete an assistant with all its versions.

  KEYS[1]  assistant   hash
  KEYS[2]  assistants  sorted set
  ARGV[1]  assistant id

  Returns 1, or 0 when there was none.
]]
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
