--[[
  Read the next page of a run's events, limited in entries and, approximately, in bytes. It changes nothing.

  KEY  events       stream
  ARG  after        '(' and the id before the page
  ARG  max_entries
  ARG  max_bytes    the page ends with the entry that reaches this size
  ARG  oldest       '1' to return the oldest entry too

  Returns {1 if a limit ended the page, else 0; entries as XRANGE returns them; the oldest entry or nil}.
]]
local page, size, from, step = {}, 0, after, 4
local entry_limit, byte_limit = tonumber(max_entries), tonumber(max_bytes)
while #page < entry_limit and size < byte_limit do
  local count = math.min(step, entry_limit - #page)
  if #page > 0 then count = math.min(count, math.floor((byte_limit - size) * #page / size) + 1) end
  local entries = redis.call('XRANGE', events, from, '+', 'COUNT', count)
  for _, entry in ipairs(entries) do
    page[#page + 1] = entry
    for _, text in ipairs(entry[2]) do size = size + #text + 1 end
    if size >= byte_limit then break end
  end
  if #entries < count then break end
  from = '(' .. entries[#entries][1]
  step = step * 4
end
local first = oldest == '1' and redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1] or false
return {(#page >= entry_limit or size >= byte_limit) and 1 or 0, page, first}
