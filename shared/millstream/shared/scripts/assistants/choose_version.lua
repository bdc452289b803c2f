--[[
  Make a version of an assistant the current one.

  KEY  assistant  hash
  ARG  version
  ARG  revision   as the caller read it to judge its rights; '' for any

  Returns 1, or without a change 0 if the version does not exist, -1 if the record has another revision.
]]
-- with clock
local head = redis.call('HGET', assistant, 'v:' .. version)
if not head then return 0 end
if revision ~= '' and redis.call('HGET', assistant, 'revision') ~= revision then return -1 end
redis.call('HINCRBY', assistant, 'revision', 1)
redis.call('HSET', assistant, 'head', head, 'version', version, 'updated_at', (read_clock()))
return 1
