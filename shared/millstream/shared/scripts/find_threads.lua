--[[
  Find threads that are in certain sets, in a certain order. It changes nothing.

  If one of the sets is small, its members are looked up and sorted; else the order is followed from
  where the caller stands, for a while.

  KEYS[1]  order    sorted set (keys.threads_by)
  KEYS[2]  unfiled  set: threads that may be in any of the sets
  KEYS[3…] sets     a thread must be in all of them
  ARGV[1]  '1' for the greatest first
  ARGV[2]  start    place in the order from which on to look
  ARGV[3]  wanted   so many are enough
  ARGV[4]  few      so many members make a set small
  ARGV[5]  chunk    members to look at in one command
  ARGV[6]  most     members to look at in this call

  Returns {place at which to go on or -1, how many there are in all or -1, '1' if the sets decide
  and '' if the metadata of what was found is to be looked at, thread id, …}.
]]
local descending = ARGV[1] == '1'
local loose = #KEYS > 2 and redis.call('SCARD', KEYS[2]) or 0

local function matching(ids)
  local number, passed = #ids, {}
  for i = 1, number do passed[i] = true end
  local free = loose > 0 and redis.call('SMISMEMBER', KEYS[2], unpack(ids))
  for at = 3, #KEYS do
    local member = redis.call('SMISMEMBER', KEYS[at], unpack(ids))
    for i = 1, number do passed[i] = passed[i] and (member[i] == 1 or free and free[i] == 1) end
  end
  local found = {}
  for i = 1, number do
    if passed[i] then found[#found + 1] = ids[i] end
  end
  return found
end

local smallest, size
for at = 3, #KEYS do
  local members = redis.call('SCARD', KEYS[at])
  if not size or members < size then smallest, size = KEYS[at], members end
end

if size and size + loose <= tonumber(ARGV[4]) then
  local ids = redis.call('SMEMBERS', smallest)
  if loose > 0 then
    local known = {}
    for _, id in ipairs(ids) do known[id] = true end
    for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
      if not known[id] then ids[#ids + 1] = id end
    end
  end
  local ranked = {}
  if #ids > 0 then
    ids = matching(ids)
  end
  if #ids > 0 then
    local scores = redis.call('ZMSCORE', KEYS[1], unpack(ids))
    for i = 1, #ids do
      if scores[i] then ranked[#ranked + 1] = {tonumber(scores[i]), ids[i]} end
    end
  end
  table.sort(ranked, function(a, b)
    if descending then a, b = b, a end
    if a[1] == b[1] then return a[2] < b[2] end
    return a[1] < b[1]
  end)
  local stop = math.min(#ranked, tonumber(ARGV[2]) + tonumber(ARGV[3]))
  local reply = {stop < #ranked and stop or -1, #ranked, loose == 0 and '1' or ''}
  for i = tonumber(ARGV[2]) + 1, stop do reply[#reply + 1] = ranked[i][2] end
  return reply
end

local length = redis.call('ZCARD', KEYS[1])
local all = not size and length or #KEYS == 3 and loose == 0 and size or -1
local reply = {-1, all, loose == 0 and '1' or ''}
local place, last = tonumber(ARGV[2]), tonumber(ARGV[2]) + tonumber(ARGV[6])
local wanted = tonumber(ARGV[3]) + 3
while place < length do
  if #reply >= wanted or place >= last then
    reply[1] = place
    break
  end
  local chunk = tonumber(ARGV[5])
  if not size then chunk = math.min(chunk, wanted - #reply) end
  local ids = redis.call(descending and 'ZREVRANGE' or 'ZRANGE', KEYS[1], place, place + chunk - 1)
  place = place + #ids
  for _, id in ipairs(size and matching(ids) or ids) do reply[#reply + 1] = id end
end
return reply
