--[[
  Delete a thread's checkpoints: all of them, or all but the newest of each namespace and the checkpoints that it builds
  on.

  KEY  run             hash
  KEY  namespaces      set
  KEY  thread          hash
  KEYS namespace_keys  index, records, references, values and writes of each namespace
  ARG  fence           of the run that prunes; '' outside of runs
  ARG  running         status of a run that a worker holds
  ARG  keep            1 to keep the newest
  ARG  idle            1 to refuse while a run of the thread is active, because it may have read what would be deleted

  Returns the number of deleted checkpoints. Without a change: -1 if the caller lost the lease, -2 if the thread has
  other namespaces than the caller listed, -3 if a run is active.
]]
-- with lease
-- with packed_list
-- with same_namespaces
-- with forget_runs
if not may_store(run, fence, running) then return -1 end
if idle == '1' and redis.call('HEXISTS', thread, 'active') == 1 then return -3 end
if not same_namespaces() then return -2 end
-- An update that has read the thread's state must read it again (store_state.lua).
if redis.call('EXISTS', thread) == 1 then redis.call('HINCRBY', thread, 'epoch', 1) end

local kept_runs = {}

local function keep_runs_of(writes)
  local entries = unpack_list(writes)
  for i = 1, #entries, 2 do kept_runs[entries[i]] = true end
end

-- Removes from `missing` the prefixes for which one of the fields has a value.
local function remove_found(missing, fields, values)
  for prefix in pairs(missing) do
    for i = 4, #fields do
      local field = fields[i]
      if field:sub(1, #prefix) == prefix and not field:find('\0', #prefix + 1, true)
        and redis.call('HEXISTS', values, field) == 1 then
        missing[prefix] = nil
        break
      end
    end
  end
end

-- Returns the checkpoints that stay, newest first: the newest, and the ancestors from which its channels that store
-- only changes (DeltaChannel) are built, back to the nearest whole value of each channel.
local function lineage(head, references, values)
  local chain, is_visited, missing, id = {}, {}, nil, head
  while id ~= '' and not is_visited[id] do
    local packed = redis.call('HGET', references, id)
    if not packed then break end
    local fields = unpack_list(packed)
    is_visited[id] = true
    chain[#chain + 1] = {id, packed, fields}
    if not missing then
      missing = {}
      for _, prefix in ipairs(unpack_list(fields[3])) do missing[prefix] = true end
    end
    remove_found(missing, fields, values)
    if next(missing) == nil then break end
    id = fields[2]
  end
  return chain
end

-- Only few checkpoints stay, so this reads them, deletes the keys, and writes them again.
local function keep_latest(index, records, references, values, writes)
  local head = redis.call('ZREVRANGE', index, 0, 0)[1]
  local chain = head and lineage(head, references, values) or {}
  for _, link in ipairs(chain) do kept_runs[link[3][1]] = true end
  local dropped = redis.call('ZCARD', index) - #chain
  local kept_fields = {} -- key, field, value, …
  for _, id in ipairs(redis.call('HKEYS', writes)) do
    local stays = dropped == 0 or not head or id > head -- of a checkpoint that is not stored yet
    for _, link in ipairs(chain) do stays = stays or link[1] == id end
    if stays then
      local packed = redis.call('HGET', writes, id)
      keep_runs_of(packed)
      for _, item in ipairs({writes, id, packed}) do kept_fields[#kept_fields + 1] = item end
    end
  end
  if dropped == 0 then return 0 end
  for _, link in ipairs(chain) do
    for _, item in ipairs({records, link[1], redis.call('HGET', records, link[1])}) do
      kept_fields[#kept_fields + 1] = item
    end
    for _, item in ipairs({references, link[1], link[2]}) do kept_fields[#kept_fields + 1] = item end
    for i = 4, #link[3] do
      local value = redis.call('HGET', values, link[3][i])
      if value then
        for _, item in ipairs({values, link[3][i], value}) do kept_fields[#kept_fields + 1] = item end
      end
    end
  end
  redis.call('UNLINK', index, records, references, values, writes)
  for i = 1, #kept_fields, 3 do redis.call('HSET', kept_fields[i], kept_fields[i + 1], kept_fields[i + 2]) end
  for _, link in ipairs(chain) do redis.call('ZADD', index, 0, link[1]) end
  return dropped
end

local dropped = 0
for i = 1, #namespace_keys, 5 do
  if keep == '1' then
    dropped = dropped + keep_latest(unpack(namespace_keys, i, i + 4))
  else
    dropped = dropped + redis.call('ZCARD', namespace_keys[i]) -- the index
    redis.call('UNLINK', unpack(namespace_keys, i, i + 4))
  end
end
if keep ~= '1' then redis.call('UNLINK', namespaces) end
forget_runs(kept_runs)
return dropped
