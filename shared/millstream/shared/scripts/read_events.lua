--[[
  Read the next page of a run's events: so many, and not much more than so many bytes, however large
  each of them is.

  KEYS[1]  events  stream
  ARGV[1]  after   the id before the page, with '(' in front
  ARGV[2]  most    entries
  ARGV[3]  bytes   at which the page is closed
  ARGV[4]  oldest  '1' to be told of the oldest entry too

  Returns {1 if the page was closed and there may be more, entries as XRANGE has them, the oldest entry
          or nil}.
]]
local page, size, after, step = {}, 0, ARGV[1], 4
local most, bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
while #page < most and size < bytes do
  local asked = math.min(step, most - #page)
  if #page > 0 then asked = math.min(asked, math.floor((bytes - size) * #page / size) + 1) end
  local entries = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', asked)
  for _, entry in ipairs(entries) do
    page[#page + 1] = entry
    for _, word in ipairs(entry[2]) do size = size + #word + 1 end
    if size >= bytes then break end
  end
  if #entries < asked then break end
  after = '(' .. entries[#entries][1]
  step = step * 4
end
local oldest = ARGV[4] == '1' and redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1] or false
return {(#page >= most or size >= bytes) and 1 or 0, page, oldest}
