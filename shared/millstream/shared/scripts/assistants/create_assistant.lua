--[[
  Create an assistant.

  KEY  assistant     hash
  KEY  assistants    sorted set
  ARG  assistant_id
  ARG  packed        packed wire.Assistant

  Returns 1, or 0 without a change if an assistant has that id.
]]
-- with clock
if redis.call('EXISTS', assistant) == 1 then return 0 end
local now_us = read_clock()
redis.call('HSET', assistant, 'head', packed, 'version', 1, 'newest', 1, 'revision', 0, 'created_at', now_us,
  'updated_at', now_us, 'v:1', packed, 't:1', now_us)
redis.call('ZADD', assistants, now_us, assistant_id)
return 1
