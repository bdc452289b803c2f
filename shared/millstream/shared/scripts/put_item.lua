--[[
  Write an item of the store, over an older one of its name, whose time of creation it keeps.

  KEYS[1]  item       JSON
  ARGV[1]  members    of the item: its row and its namespace, as JSON without the braces
  ARGV[2]  members    of the document beside the item: what it is searched by
  ARGV[3]  ttl        ms; 0: it stays until it is deleted

  Returns the time of the update, in µs.
]]
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', time[2])
local created = redis.call('JSON.GET', KEYS[1], '$.item.created_at')
created = created and created:match('^%[(%d+)%]$') or now

local document = string.format('{"item":{"created_at":%s,"updated_at":%s,"ttl":%s,', created, now, ARGV[3])
redis.call('JSON.SET', KEYS[1], '$', document .. ARGV[1] .. '},' .. ARGV[2] .. '}')
if ARGV[3] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
else
  redis.call('PERSIST', KEYS[1])
end
return now
