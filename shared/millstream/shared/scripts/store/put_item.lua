--[[
  Write an item of the store, over an older one of its name, whose time of creation it keeps.

  KEY  item              JSON
  ARG  members           of the item: its row and its namespace, as JSON without the braces
  ARG  document_members  of the document beside the item: what it is searched by
  ARG  ttl               ms; 0: it stays until it is deleted

  Returns the time of the update, in µs.
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
