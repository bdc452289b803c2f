--[[
  Delete the checkpoints and pending writes that runs left in a thread, as if they had never run.

  KEYS[1]  namespaces  set
  KEYS[2]  runs        set, of those that stored something in the thread
  KEYS[3]  ran         sorted set
  KEYS[4]  run         hash
  KEYS[5…] index, records, references, values, writes of each namespace
  ARGV[1]  fence       of the run that does it; '' when no run does
  ARGV[2]  running     the status of a run that somebody holds
  ARGV[3]  thread id
  ARGV[4]  n           how many run ids follow
  ARGV[5…] run ids, then the namespaces in the order of their keys

  Returns how many checkpoints it deleted, -1 when the caller has been fenced off, -2 when the thread
  has other namespaces than the caller named; then nothing was changed.
]]
-- with words
-- with same_namespaces
if ARGV[1] ~= '' then
  local run = redis.call('HMGET', KEYS[4], 'fence', 'status')
  if run[1] ~= ARGV[1] or run[2] ~= ARGV[2] then return -1 end
end
local first = 5 + ARGV[4]
if not same_namespaces(KEYS[1], first) then return -2 end
local undone = {}
for i = 5, first - 1 do undone[ARGV[i]] = true end

local function drop(index, records, references, values, writes)
  local dropped, needed, candidates = 0, {}, {}
  local stored = redis.call('HGETALL', references)
  for i = 1, #stored, 2 do
    local fields = words(stored[i + 1])
    local gone = undone[fields[1]]
    for j = 4, #fields do
      if gone then candidates[fields[j]] = true else needed[fields[j]] = true end
    end
    if gone then
      dropped = dropped + 1
      redis.call('ZREM', index, stored[i])
      redis.call('HDEL', records, stored[i])
      redis.call('HDEL', references, stored[i])
      redis.call('HDEL', writes, stored[i])
    end
  end
  for field in pairs(candidates) do
    if not needed[field] then redis.call('HDEL', values, field) end
  end
  -- What the runs wrote behind checkpoints that were there before them.
  local written = redis.call('HGETALL', writes)
  for i = 1, #written, 2 do
    local framed, kept, at = written[i + 1], {}, 1
    while at <= #framed do
      local size = size_at(framed, at)
      local stop = at + 8 + size + size_at(framed, at + 4 + size) -- behind the run's id and its write
      if not undone[framed:sub(at + 4, at + 3 + size)] then kept[#kept + 1] = framed:sub(at, stop - 1) end
      at = stop
    end
    local left = table.concat(kept)
    if left == '' then
      redis.call('HDEL', writes, written[i])
    elseif #left < #framed then
      redis.call('HSET', writes, written[i], left)
    end
  end
  return dropped
end

local dropped = 0
for i = first, #ARGV do
  local at = 5 + 5 * (i - first)
  dropped = dropped + drop(KEYS[at], KEYS[at + 1], KEYS[at + 2], KEYS[at + 3], KEYS[at + 4])
  if redis.call('EXISTS', KEYS[at], KEYS[at + 4]) == 0 then redis.call('SREM', KEYS[1], ARGV[i]) end
end
for run_id in pairs(undone) do
  redis.call('SREM', KEYS[2], run_id)
  redis.call('ZREM', KEYS[3], run_id .. '\0' .. ARGV[3])
end
return dropped
