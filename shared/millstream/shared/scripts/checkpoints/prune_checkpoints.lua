--[[
  Delete a thread's checkpoints: all of them, or all but the newest of each namespace and what that one
  builds on.

  KEY  run         hash
  KEY  namespaces  set
  KEY  thread      hash
  KEYS families    index, records, references, values, writes of each namespace
  ARG  fence       of the run that does it; '' when no run does
  ARG  running     the status of a run that a worker holds
  ARG  keep        1 to keep the newest
  ARG  idle        1 to refuse while another run of the thread is active: what it has read may go

  Returns how many checkpoints it deleted, -1 when the caller has been fenced off, -2 when the thread
  has other namespaces than the caller named, -3 when it is busy; then nothing was changed.
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

local function note_runs(framed_writes)
  local entries = unpack_list(framed_writes)
  for i = 1, #entries, 2 do kept_runs[entries[i]] = true end
end

-- Takes out of `wanted` the prefixes for which one of the fields has a value.
local function found_among(fields, values, wanted)
  for prefix in pairs(wanted) do
    for i = 4, #fields do
      local field = fields[i]
      if field:sub(1, #prefix) == prefix and not field:find('\0', #prefix + 1, true)
        and redis.call('HEXISTS', values, field) == 1 then
        wanted[prefix] = nil
        break
      end
    end
  end
end

-- Returns the checkpoints that stay, the newest first: those behind it hold what its channels that
-- keep only changes (DeltaChannel) are built from, down to the nearest whole value of each.
local function lineage(head, references, values)
  local chain, seen, wanted, id = {}, {}, nil, head
  while id ~= '' and not seen[id] do
    local framed = redis.call('HGET', references, id)
    if not framed then break end
    local fields = unpack_list(framed)
    seen[id] = true
    chain[#chain + 1] = {id, framed, fields}
    if not wanted then
      wanted = {}
      for _, prefix in ipairs(unpack_list(fields[3])) do wanted[prefix] = true end
    end
    found_among(fields, values, wanted)
    if next(wanted) == nil then break end
    id = fields[2]
  end
  return chain
end

-- Keeps little, so it takes that little out, deletes all at once, and puts it back.
local function keep_latest(index, records, references, values, writes)
  local head = redis.call('ZREVRANGE', index, 0, 0)[1]
  local chain = head and lineage(head, references, values) or {}
  for _, link in ipairs(chain) do kept_runs[link[3][1]] = true end
  local dropped = redis.call('ZCARD', index) - #chain
  local staying = {} -- key, field, value, …
  for _, id in ipairs(redis.call('HKEYS', writes)) do
    local stays = dropped == 0 or not head or id > head -- of a checkpoint that is still to come
    for _, link in ipairs(chain) do stays = stays or link[1] == id end
    if stays then
      local framed = redis.call('HGET', writes, id)
      note_runs(framed)
      for _, word in ipairs({writes, id, framed}) do staying[#staying + 1] = word end
    end
  end
  if dropped == 0 then return 0 end
  for _, link in ipairs(chain) do
    for _, word in ipairs({records, link[1], redis.call('HGET', records, link[1])}) do
      staying[#staying + 1] = word
    end
    for _, word in ipairs({references, link[1], link[2]}) do staying[#staying + 1] = word end
    for i = 4, #link[3] do
      local value = redis.call('HGET', values, link[3][i])
      if value then
        for _, word in ipairs({values, link[3][i], value}) do staying[#staying + 1] = word end
      end
    end
  end
  redis.call('UNLINK', index, records, references, values, writes)
  for i = 1, #staying, 3 do redis.call('HSET', staying[i], staying[i + 1], staying[i + 2]) end
  for _, link in ipairs(chain) do redis.call('ZADD', index, 0, link[1]) end
  return dropped
end

local dropped = 0
for at = 1, #families, 5 do
  if keep == '1' then
    dropped = dropped + keep_latest(unpack(families, at, at + 4))
  else
    dropped = dropped + redis.call('ZCARD', families[at]) -- the index
    redis.call('UNLINK', unpack(families, at, at + 4))
  end
end
if keep ~= '1' then redis.call('UNLINK', namespaces) end
forget_runs(kept_runs)
return dropped
