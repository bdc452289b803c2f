--[[
  A packed list (wire.pack_list): items of any bytes, each behind its size. Lua code reads it, because not every Redis
  server has the `struct` library.
]]
local function size_at(packed, at)
  local a, b, c, d = packed:byte(at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function unpack_list(packed)
  local items, at = {}, 1
  while at <= #packed do
    local size = size_at(packed, at)
    items[#items + 1] = packed:sub(at + 4, at + 3 + size)
    at = at + 4 + size
  end
  return items
end
