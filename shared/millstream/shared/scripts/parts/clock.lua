--[[
  The clock of Redis, the only one that decides.
]]
local function read_clock_ms()
  local time = redis.call('TIME')
  return math.floor(time[1] * 1000 + time[2] / 1000)
end

-- Returns µs as text, because Lua would print such a number with an exponent, and ms as a number.
local function read_clock()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000000 + time[2]), math.floor(time[1] * 1000 + time[2] / 1000)
end

