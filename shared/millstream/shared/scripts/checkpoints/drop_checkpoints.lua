--[[
  Delete the checkpoints and pending writes that runs left in a thread, as if they had never run.

  KEY  namespaces       set
  KEY  checkpoint_runs  set, of those that stored something in the thread
  KEY  runs_with_checkpoints              sorted set
  KEY  run              hash
  KEYS families         index, records, references, values, writes of each namespace
  ARG  fence            of the run that does it; '' when no run does
  ARG  running          the status of a run that a worker holds
  ARG  thread_id
  ARGS run_ids
  ARGS namespace_names  in the order of their keys

  Returns how many checkpoints it deleted, -1 when the caller has been fenced off, -2 when the thread
  has other namespaces than the caller named; then nothing was changed.
]]
-- with packed_list
-- with same_namespaces
if fence ~= '' then
  local current, status = unpack(redis.call('HMGET', run, 'fence', 'status'))
  if current ~= fence or status ~= running then return -1 end
end
if not same_namespaces() then return -2 end
local rolled_back = {}
for _, run_id in ipairs(run_ids) do rolled_back[run_id] = true end

local function drop(index, records, references, values, writes)
  local dropped, needed, candidates = 0, {}, {}
  local stored = redis.call('HGETALL', references)
  for i = 1, #stored, 2 do
    local fields = unpack_list(stored[i + 1])
    local gone = rolled_back[fields[1]]
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
      if not rolled_back[framed:sub(at + 4, at + 3 + size)] then kept[#kept + 1] = framed:sub(at, stop - 1) end
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
for i, name in ipairs(namespace_names) do
  local index, records, references, values, writes = unpack(families, 5 * i - 4, 5 * i)
  dropped = dropped + drop(index, records, references, values, writes)
  if redis.call('EXISTS', index, writes) == 0 then redis.call('SREM', namespaces, name) end
end
for run_id in pairs(rolled_back) do
  redis.call('SREM', checkpoint_runs, run_id)
  redis.call('ZREM', runs_with_checkpoints, run_id .. '\0' .. thread_id)
end
return dropped
