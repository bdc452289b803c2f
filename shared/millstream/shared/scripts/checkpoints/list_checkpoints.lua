--[[
  Read a page of a namespace's checkpoints, newest first, with their channel values and pending writes. It changes
  nothing.

  KEY  index       sorted set
  KEY  records     hash
  KEY  references  hash
  KEY  values      hash
  KEY  writes      hash
  ARG  upper       '+' to begin with the newest; '(' and an id to begin before that checkpoint
  ARG  count       number of checkpoints

  Returns {{id, record, references, writes or ''}, …} and {field, value, …}, which has each value once even if several
  of the checkpoints refer to it.
]]
-- with packed_list
local entries, shared_values, is_listed = {}, {}, {}
for _, id in ipairs(redis.call('ZREVRANGEBYLEX', index, upper, '-', 'LIMIT', 0, count)) do
  local record, packed = redis.call('HGET', records, id), redis.call('HGET', references, id)
  if record and packed then
    entries[#entries + 1] = {id, record, packed, redis.call('HGET', writes, id) or ''}
    local fields = unpack_list(packed)
    for i = 4, #fields do
      if not is_listed[fields[i]] then
        is_listed[fields[i]] = true
        local value = redis.call('HGET', values, fields[i])
        if value then
          shared_values[#shared_values + 1] = fields[i]
          shared_values[#shared_values + 1] = value
        end
      end
    end
  else
    entries[#entries + 1] = {id, '', '', ''} -- incomplete: the caller skips it
  end
end
return {entries, shared_values}
