--[[
  Find threads that are in all of some sets, in an order. It changes nothing.

  If one of the sets is small, the script sorts its members. Otherwise it scans the order from `start` on, up to
  `max_scanned` members.

  KEY  order        sorted set (keys.threads_by)
  KEY  unindexed    set: threads that may belong to any of the sets
  KEYS sets         a thread must be in all of them
  ARG  descending   '1' for descending order
  ARG  start        rank in the order to start at
  ARG  limit        number of threads to return; the reply may have a few more
  ARG  small_set    maximum number of members of a small set
  ARG  chunk        number of members to scan with one command
  ARG  max_scanned  number of members to scan in this call

  Returns {rank to continue at or -1, total number of matches or -1, '1' if the sets alone decide or '' if the caller
  must check the metadata of the matches, thread id, …}.
]]
local is_descending = descending == '1'
local unindexed_count = #sets > 0 and redis.call('SCARD', unindexed) or 0

local function filter_matching(ids)
  local number, matches = #ids, {}
  for i = 1, number do matches[i] = true end
  local is_unindexed = unindexed_count > 0 and redis.call('SMISMEMBER', unindexed, unpack(ids))
  for _, set in ipairs(sets) do
    local member = redis.call('SMISMEMBER', set, unpack(ids))
    for i = 1, number do matches[i] = matches[i] and (member[i] == 1 or is_unindexed and is_unindexed[i] == 1) end
  end
  local matching_ids = {}
  for i = 1, number do
    if matches[i] then matching_ids[#matching_ids + 1] = ids[i] end
  end
  return matching_ids
end

local smallest, size
for _, set in ipairs(sets) do
  local members = redis.call('SCARD', set)
  if not size or members < size then smallest, size = set, members end
end

if size and size + unindexed_count <= tonumber(small_set) then
  local ids = redis.call('SMEMBERS', smallest)
  if unindexed_count > 0 then
    local is_known = {}
    for _, id in ipairs(ids) do is_known[id] = true end
    for _, id in ipairs(redis.call('SMEMBERS', unindexed)) do
      if not is_known[id] then ids[#ids + 1] = id end
    end
  end
  local ranked = {}
  if #ids > 0 then
    ids = filter_matching(ids)
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
  local stop = math.min(#ranked, tonumber(start) + tonumber(limit))
  local reply = {stop < #ranked and stop or -1, #ranked, unindexed_count == 0 and '1' or ''}
  for i = tonumber(start) + 1, stop do reply[#reply + 1] = ranked[i][2] end
  return reply
end

local length = redis.call('ZCARD', order)
local total = not size and length or #sets == 1 and unindexed_count == 0 and size or -1
local reply = {-1, total, unindexed_count == 0 and '1' or ''}
local rank, last = tonumber(start), tonumber(start) + tonumber(max_scanned)
local enough = tonumber(limit) + 3
while rank < length do
  if #reply >= enough or rank >= last then
    reply[1] = rank
    break
  end
  local number = tonumber(chunk)
  if not size then number = math.min(number, enough - #reply) end
  local ids = redis.call(is_descending and 'ZREVRANGE' or 'ZRANGE', order, rank, rank + number - 1)
  rank = rank + #ids
  for _, id in ipairs(size and filter_matching(ids) or ids) do reply[#reply + 1] = id end
end
return reply
