--[[
  Read a page of a namespace's checkpoints, newest first, with their channel values and pending writes.

  KEYS[1]  index       sorted set
  KEYS[2]  records     hash
  KEYS[3]  references  hash
  KEYS[4]  values      hash
  KEYS[5]  writes      hash
  ARGV[1]  from        '+' for the newest, '(' and an id for those before it
  ARGV[2]  count

  Returns {{id, record, references, writes or ''}, …} and {field, value, …}: each value once, however
  many of the checkpoints refer to it.
]]
-- with words
local entries, shared, seen = {}, {}, {}
for _, id in ipairs(redis.call('ZREVRANGEBYLEX', KEYS[1], ARGV[1], '-', 'LIMIT', 0, ARGV[2])) do
  local record, framed = redis.call('HGET', KEYS[2], id), redis.call('HGET', KEYS[3], id)
  if record and framed then
    entries[#entries + 1] = {id, record, framed, redis.call('HGET', KEYS[5], id) or ''}
    local fields = words(framed)
    for i = 4, #fields do
      if not seen[fields[i]] then
        seen[fields[i]] = true
        local value = redis.call('HGET', KEYS[4], fields[i])
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
