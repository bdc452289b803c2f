--[[
  Read one checkpoint with its channel values and pending writes.

  KEYS[1]  index       sorted set
  KEYS[2]  records     hash
  KEYS[3]  references  hash
  KEYS[4]  values      hash
  KEYS[5]  writes      hash
  ARGV[1]  checkpoint id  '' for the newest

  Returns {id, record, references, writes or '', value or nil of each reference}, or nil if there is none.
]]
-- with words
local id = ARGV[1]
if id == '' then id = redis.call('ZREVRANGE', KEYS[1], 0, 0)[1] end
local record = id and redis.call('HGET', KEYS[2], id)
if not record then return nil end
local framed = redis.call('HGET', KEYS[3], id)
local reply = {id, record, framed, redis.call('HGET', KEYS[5], id) or ''}
local at = 1
for _ = 1, 3 do at = at + 4 + size_at(framed, at) end -- behind its run, its parent, …
while at <= #framed do
  local size = size_at(framed, at)
  reply[#reply + 1] = redis.call('HGET', KEYS[4], framed:sub(at + 4, at + 3 + size))
  at = at + 4 + size
end
return reply
