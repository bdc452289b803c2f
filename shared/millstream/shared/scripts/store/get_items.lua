--[[
  Read items of the store, and optionally restart the TTL of those that have one.

  KEYS items    JSON documents
  ARG  refresh  '1' to restart the TTLs, or '0'

  Returns for each key the item, as JSON in a list of one, or nil if it does not exist.
]]
local replies = {}
for i, key in ipairs(items) do
  replies[i] = redis.call('JSON.GET', key, '$.item')
  if replies[i] and refresh == '1' and redis.call('PTTL', key) > 0 then
    local ttl = redis.call('JSON.GET', key, '$.item.ttl'):match('^%[(%d+)%]$')
    if ttl and ttl ~= '0' then redis.call('PEXPIRE', key, ttl) end
  end
end
return replies
