--[[
  Make a version of an assistant the current one.

  KEY  assistant  hash
  ARG  version

  Returns 1, or 0 without a change if the version does not exist.
]]
-- with clock
local head = redis.call('HGET', assistant, 'v:' .. version)
if not head then return 0 end
redis.call('HINCRBY', assistant, 'revision', 1)
redis.call('HSET', assistant, 'head', head, 'version', version, 'updated_at', (read_clock()))
return 1
