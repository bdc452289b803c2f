--[[
  Read items of the store; a reading may give those that have a TTL their time anew.

  KEYS[1]  item       JSON, and so for each further key
  ARGV[1]  refresh    '1' or '0'

  Returns, for each key, the item as JSON in a list of one, or nil if there is none.
]]
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.call('JSON.GET', key, '$.item')
  if found[i] and ARGV[1] == '1' and redis.call('PTTL', key) > 0 then
    local ttl = redis.call('JSON.GET', key, '$.item.ttl'):match('^%[(%d+)%]$')
    if ttl and ttl ~= '0' then redis.call('PEXPIRE', key, ttl) end
  end
end
return found
