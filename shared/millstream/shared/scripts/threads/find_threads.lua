--[[
  Find threads that are in certain sets, in a certain order. It changes nothing.

  If one of the sets is small, its members are looked up and sorted; else the order is followed from
  where the caller stands, for a while.

  KEY  order       sorted set (keys.threads_by)
  KEY  unindexed     set: threads that may be in any of the sets
  KEYS sets        a thread must be in all of them
  ARG  descending  '1' for the greatest first
  ARG  start       place in the order from which on to look
  ARG  wanted      so many are enough
  ARG  few         so many members make a set small
  ARG  chunk       members to look at in one command
  ARG  most        members to look at in this call

  Returns {place at which to go on or -1, how many there are in all or -1, '1' if the sets decide
  and '' if the metadata of what was found is to be looked at, thread id, …}.
]]
local is_descending = descending == '1'
local loose = #sets > 0 and redis.call('SCARD', unindexed) or 0

local function matching(ids)
  local number, passed = #ids, {}
  for i = 1, number do passed[i] = true end
  local free = loose > 0 and redis.call('SMISMEMBER', unindexed, unpack(ids))
  for _, set in ipairs(sets) do
    local member = redis.call('SMISMEMBER', set, unpack(ids))
    for i = 1, number do passed[i] = passed[i] and (member[i] == 1 or free and free[i] == 1) end
  end
  local found = {}
  for i = 1, number do
    if passed[i] then found[#found + 1] = ids[i] end
  end
  return found
end

local smallest, size
for _, set in ipairs(sets) do
  local members = redis.call('SCARD', set)
  if not size or members < size then smallest, size = set, members end
end

if size and size + loose <= tonumber(few) then
  local ids = redis.call('SMEMBERS', smallest)
  if loose > 0 then
    local known = {}
    for _, id in ipairs(ids) do known[id] = true end
    for _, id in ipairs(redis.call('SMEMBERS', unindexed)) do
      if not known[id] then ids[#ids + 1] = id end
    end
  end
  local ranked = {}
  if #ids > 0 then
    ids = matching(ids)
  end
  if #ids > 0 then
    local scores = redis.call('ZMSCORE', order, unpack(ids))
    for i = 1, #ids do
      if scores[i] then ranked[#ranked + 1] = {tonumber(scores[i]), ids[i]} end
    end
  end
  table.sort(ranked, function(a, b)
    if is_descending then a, b = b, a end
    if a[1] == b[1] then return a[2] < b[2] end
    return a[1] < b[1]
  end)
  local stop = math.min(#ranked, tonumber(start) + tonumber(wanted))
  local reply = {stop < #ranked and stop or -1, #ranked, loose == 0 and '1' or ''}
  for i = tonumber(start) + 1, stop do reply[#reply + 1] = ranked[i][2] end
  return reply
end

local length = redis.call('ZCARD', order)
local all = not size and length or #sets == 1 and loose == 0 and size or -1
local reply = {-1, all, loose == 0 and '1' or ''}
local place, last = tonumber(start), tonumber(start) + tonumber(most)
local enough = tonumber(wanted) + 3
while place < length do
  if #reply >= enough or place >= last then
    reply[1] = place
    break
  end
  local number = tonumber(chunk)
  if not size then number = math.min(number, enough - #reply) end
  local ids = redis.call(is_descending and 'ZREVRANGE' or 'ZRANGE', order, place, place + number - 1)
  place = place + #ids
  for _, id in ipairs(size and matching(ids) or ids) do reply[#reply + 1] = id end
end
return reply
