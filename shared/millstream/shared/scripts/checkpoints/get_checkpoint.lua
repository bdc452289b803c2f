--[[
  Read one checkpoint with its channel values and pending writes. It changes nothing.

  KEY  index          sorted set
  KEY  records        hash
  KEY  references     hash
  KEY  values         hash
  KEY  writes         hash
  ARG  checkpoint_id  '' for the newest

  Returns {id, record, references, writes or '', value or nil of each reference}, or nil if the checkpoint does not
  exist.
]]
-- with packed_list
local id = checkpoint_id
if id == '' then id = redis.call('ZREVRANGE', index, 0, 0)[1] end
local record = id and redis.call('HGET', records, id)
if not record then return nil end
local packed = redis.call('HGET', references, id)
local reply = {id, record, packed, redis.call('HGET', writes, id) or ''}
local at = 1
for _ = 1, 3 do at = at + 4 + size_at(packed, at) end -- skips the run, the parent and the prefixes (put_checkpoint.lua)
while at <= #packed do
  local size = size_at(packed, at)
  reply[#reply + 1] = redis.call('HGET', values, packed:sub(at + 4, at + 3 + size))
  at = at + 4 + size
end
return reply
