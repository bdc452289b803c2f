--[[
  The words of a frame (wire.py), each behind its size. By hand: not every server brings `struct`.
]]
local function size_at(framed, at)
  local a, b, c, d = framed:byte(at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function unpack_list(framed)
  local found, at = {}, 1
  while at <= #framed do
    local size = size_at(framed, at)
    found[#found + 1] = framed:sub(at + 4, at + 3 + size)
    at = at + 4 + size
  end
  return found
end
