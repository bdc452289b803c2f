--[[
  Delete an assistant with all its versions.

  KEY  assistant     hash
  KEY  assistants    sorted set
  ARG  assistant_id
  ARG  revision      as the caller read it to judge its rights; '' for any

  Returns 1, or without a change 0 if the assistant has no record, -1 if the record has another revision.
]]
local current = redis.call('HGET', assistant, 'revision')
if revision ~= '' and current and current ~= revision then return -1 end
redis.call('ZREM', assistants, assistant_id)
return redis.call('DEL', assistant)
