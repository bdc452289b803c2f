--[[
  Measure checkpoints of a namespace, without their channel values. It changes nothing.

  KEY  records         hash
  KEY  references      hash
  KEY  writes          hash
  ARGS checkpoint_ids

  Returns {number of checkpoints, their bytes, number of pending writes, their bytes}.
]]
-- with packed_list
local checkpoints, bytes, pending, pending_bytes = 0, 0, 0, 0
for _, id in ipairs(checkpoint_ids) do
  local size = redis.call('HSTRLEN', records, id)
  if size > 0 then
    checkpoints = checkpoints + 1
    bytes = bytes + size + redis.call('HSTRLEN', references, id)
  end
  local packed = redis.call('HGET', writes, id) or ''
  pending_bytes = pending_bytes + #packed
  local at, items = 1, 0
  while at <= #packed do
    at = at + 4 + size_at(packed, at)
    items = items + 1
  end
  pending = pending + items / 2 -- each write follows its run's id
end
return {checkpoints, bytes, pending, pending_bytes}
