--[[
  Give an assistant a new version and make it the current one, if the record is still the one that the caller read.

  KEY  assistant     hash
  KEY  assistants    sorted set
  ARG  assistant_id
  ARG  revision      as the caller read it; '' for a default assistant without a record
  ARG  packed        packed wire.Assistant, the new version
  ARG  first         packed wire.Assistant, the first version of a default assistant without a record
  ARG  announced_at  µs, when a worker announced its graph
  ARG  max_versions  number of versions to keep

  Returns the number of the version, or 0 without a change: read the assistant again.
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
