--[[
  Delete the checkpoints and pending writes that some runs stored in a thread.

  KEY  namespaces             set
  KEY  checkpoint_runs        set: runs that stored checkpoints in the thread
  KEY  runs_with_checkpoints  sorted set
  KEY  run                    hash
  KEYS namespace_keys         index, records, references, values and writes of each namespace
  ARG  fence                  of the run that deletes; '' outside of runs
  ARG  running                status of a run that a worker holds
  ARG  thread_id
  ARGS run_ids
  ARGS namespace_names        in the order of their keys

  Returns the number of deleted checkpoints. Without a change: -1 if the caller lost the lease, -2 if the thread has
  other namespaces than the caller listed.
]]
-- with packed_list
-- with same_namespaces
if fence ~= '' then
  local current, status = unpack(redis.call('HMGET', run, 'fence', 'status'))
  if current ~= fence or status ~= running then return -1 end
end
if not same_namespaces() then return -2 end
local is_rolled_back = {}
for _, run_id in ipairs(run_ids) do is_rolled_back[run_id] = true end

local function drop(index, records, references, values, writes)
  local dropped, needed, candidates = 0, {}, {}
  local stored = redis.call('HGETALL', references)
  for i = 1, #stored, 2 do
    local fields = unpack_list(stored[i + 1])
    local is_dropped = is_rolled_back[fields[1]]
    for j = 4, #fields do
      if is_dropped then candidates[fields[j]] = true else needed[fields[j]] = true end
    end
    if is_dropped then
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
  -- Writes of these runs that belong to checkpoints of other runs.
  local written = redis.call('HGETALL', writes)
  for i = 1, #written, 2 do
    local packed, kept_writes, at = written[i + 1], {}, 1
    while at <= #packed do
      local size = size_at(packed, at)
      local stop = at + 8 + size + size_at(packed, at + 4 + size) -- the position after the run's id and its write
      if not is_rolled_back[packed:sub(at + 4, at + 3 + size)] then
        kept_writes[#kept_writes + 1] = packed:sub(at, stop - 1)
      end
      at = stop
    end
    local remaining = table.concat(kept_writes)
    if remaining == '' then
      redis.call('HDEL', writes, written[i])
    elseif #remaining < #packed then
      redis.call('HSET', writes, written[i], remaining)
    end
  end
  return dropped
end

local dropped = 0
for i, name in ipairs(namespace_names) do
  local index, records, references, values, writes = unpack(namespace_keys, 5 * i - 4, 5 * i)
  dropped = dropped + drop(index, records, references, values, writes)
  if redis.call('EXISTS', index, writes) == 0 then redis.call('SREM', namespaces, name) end
end
for run_id in pairs(is_rolled_back) do
  redis.call('SREM', checkpoint_runs, run_id)
  redis.call('ZREM', runs_with_checkpoints, run_id .. '\0' .. thread_id)
end
return dropped
