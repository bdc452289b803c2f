--[[
  Read items of the store; a reading may give those that have a TTL their time anew.

  KEYS items    JSON documents
  ARG  refresh  '1' or '0'

  Returns, for each key, the item as JSON in a list of one, or nil if there is none.
]]
local found = {}
for i, key in ipairs(items) do
  found[i] = redis.call('JSON.GET', key, '$.item')
  if found[i] and refresh == '1' and redis.call('PTTL', key) > 0 then
    local ttl = redis.call('JSON.GET', key, '$.item.ttl'):match('^%[(%d+)%]$')
    if ttl and ttl ~= '0' then redis.call('PEXPIRE', key, ttl) end
  end
end
return found
