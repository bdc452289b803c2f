--[[
  Read the next page of a run's events: so many, and not much more than so many bytes, however large
  each of them is.

  KEY  events  stream
  ARG  after   the id before the page, with '(' in front
  ARG  most    entries
  ARG  bytes   at which the page is closed
  ARG  oldest  '1' to return the oldest entry too

  Returns {1 if the page was closed and there may be more, entries as XRANGE has them, the oldest entry
          or nil}.
]]
local page, size, from, step = {}, 0, after, 4
local most_entries, most_bytes = tonumber(most), tonumber(bytes)
while #page < most_entries and size < most_bytes do
  local count = math.min(step, most_entries - #page)
  if #page > 0 then count = math.min(count, math.floor((most_bytes - size) * #page / size) + 1) end
  local entries = redis.call('XRANGE', events, from, '+', 'COUNT', count)
  for _, entry in ipairs(entries) do
    page[#page + 1] = entry
    for _, word in ipairs(entry[2]) do size = size + #word + 1 end
    if size >= most_bytes then break end
  end
  if #entries < count then break end
  from = '(' .. entries[#entries][1]
  step = step * 4
end
local first = oldest == '1' and redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1] or false
return {(#page >= most_entries or size >= most_bytes) and 1 or 0, page, first}
