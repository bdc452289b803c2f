--[[
  Delete an assistant with all its versions.

  KEY  assistant     hash
  KEY  assistants    sorted set
  ARG  assistant_id

  Returns 1, or 0 if the assistant has no record.
]]
redis.call('ZREM', assistants, assistant_id)
return redis.call('DEL', assistant)
