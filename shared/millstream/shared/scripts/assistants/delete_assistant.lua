--[[
  Delete an assistant with all its versions.

  KEY  assistant     hash
  KEY  assistants    sorted set
  ARG  assistant_id

  Returns 1, or 0 when there was none.
]]
redis.call('ZREM', assistants, assistant_id)
return redis.call('DEL', assistant)
