--[[
  Give an assistant a new version, which becomes the current one, if it is still what the caller has read.

  KEY  assistant     hash
  KEY  assistants    sorted set
  ARG  assistant_id
  ARG  revision      as the caller read it; '' is a default assistant that has no record yet
  ARG  packed        packed wire.Assistant, the new version
  ARG  first         packed wire.Assistant, the first version of one that has no record yet
  ARG  announced_at  when it was announced, µs
  ARG  max_versions          versions that are kept

  Returns the number of the version, or 0 with nothing changed: read it again.
]]
-- with clock
local current = redis.call('HGET', assistant, 'revision')
if (current or '') ~= revision then return 0 end
if not current then
  redis.call('HSET', assistant, 'created_at', announced_at, 'newest', 1, 'v:1', first, 't:1', announced_at)
  redis.call('ZADD', assistants, announced_at, assistant_id)
end
local now_us = read_clock()
local version = redis.call('HINCRBY', assistant, 'newest', 1)
redis.call('HINCRBY', assistant, 'revision', 1)
redis.call('HSET', assistant, 'head', packed, 'version', version, 'updated_at', now_us,
  'v:' .. version, packed, 't:' .. version, now_us)
local oldest = version - tonumber(max_versions)
redis.call('HDEL', assistant, 'v:' .. oldest, 't:' .. oldest)
return version
