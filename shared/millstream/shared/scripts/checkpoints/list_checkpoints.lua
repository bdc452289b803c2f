--[[
  Read a page of a namespace's checkpoints, newest first, with their channel values and pending writes.

  KEY  index       sorted set
  KEY  records     hash
  KEY  references  hash
  KEY  values      hash
  KEY  writes      hash
  ARG  upper       '+' for the newest, '(' and an id for those before it
  ARG  count

  Returns {{id, record, references, writes or ''}, …} and {field, value, …}: each value once, however
  many of the checkpoints refer to it.
]]
-- with packed_list
local entries, shared, seen = {}, {}, {}
for _, id in ipairs(redis.call('ZREVRANGEBYLEX', index, upper, '-', 'LIMIT', 0, count)) do
  local record, framed = redis.call('HGET', records, id), redis.call('HGET', references, id)
  if record and framed then
    entries[#entries + 1] = {id, record, framed, redis.call('HGET', writes, id) or ''}
    local fields = unpack_list(framed)
    for i = 4, #fields do
      if not seen[fields[i]] then
        seen[fields[i]] = true
        local value = redis.call('HGET', values, fields[i])
        if value then
          shared[#shared + 1] = fields[i]
          shared[#shared + 1] = value
        end
      end
    end
  else
    entries[#entries + 1] = {id, '', '', ''} -- half gone: it is passed over, and the page goes on
  end
end
return {entries, shared}
