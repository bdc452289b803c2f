--[[
  Read the next page of a run's events: so many, and not much more than so many bytes, however large
  each of them is.

  KEY  events  stream
  ARG  after   the id before the page, with '(' in front
  ARG  max_entries    entries
  ARG  bytes   at which the page is closed
  ARG  oldest  '1' to return the oldest entry too

  Returns {1 if the page was closed and there may be more, entries as XRANGE has them, the oldest entry
          or nil}.
]]
local page, size, from, step = {}, 0, after, 4
local entry_limit, byte_limit = tonumber(max_entries), tonumber(bytes)
while #page < entry_limit and size < byte_limit do
  local count = math.min(step, entry_limit - #page)
  if #page > 0 then count = math.min(count, math.floor((byte_limit - size) * #page / size) + 1) end
  local entries = redis.call('XRANGE', events, from, '+', 'COUNT', count)
  for _, entry in ipairs(entries) do
    page[#page + 1] = entry
    for _, word in ipairs(entry[2]) do size = size + #word + 1 end
    if size >= byte_limit then break end
  end
  if #entries < count then break end
  from = '(' .. entries[#entries][1]
  step = step * 4
end
local first = oldest == '1' and redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1] or false
return {(#page >= entry_limit or size >= byte_limit) and 1 or 0, page, first}
