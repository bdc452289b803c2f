--[[
  Write an item of the store. It replaces an item of the same name and keeps its time of creation.

  KEY  item              JSON
  ARG  members           JSON members of the item, without braces: its row and its namespace
  ARG  document_members  JSON members of the document beside the item, without braces: what searches use
  ARG  ttl               ms; 0 for none

  Returns the time of the update in µs.
]]
-- with clock
local now = read_clock()
local created = redis.call('JSON.GET', item, '$.item.created_at')
created = created and created:match('^%[(%d+)%]$') or now

local document = string.format('{"item":{"created_at":%s,"updated_at":%s,"ttl":%s,', created, now, ttl)
redis.call('JSON.SET', item, '$', document .. members .. '},' .. document_members .. '}')
if ttl ~= '0' then
  redis.call('PEXPIRE', item, ttl)
else
  redis.call('PERSIST', item)
end
return now
