--[[
  Delete the checkpoints and pending writes that one run left in a namespace, as if it had never run.

  KEYS[1]  index       sorted set
  KEYS[2]  records     hash
  KEYS[3]  references  hash
  KEYS[4]  values      hash
  KEYS[5]  writes      hash
  KEYS[6]  namespaces  set
  KEYS[7]  run         hash
  ARGV[1]  fence       of the run that is being undone
  ARGV[2]  running     the status of a run that somebody holds
  ARGV[3]  namespace
  ARGV[4]  run id

  Returns how many it deleted, or -1 when the caller has been fenced off and nothing was.
]]
local run = redis.call('HMGET', KEYS[7], 'fence', 'status')
if run[1] ~= ARGV[1] or run[2] ~= ARGV[2] then return -1 end

local function words(framed)
  local found, at = {}, 1
  while at <= #framed do
    local size = struct.unpack('>I4', framed, at)
    found[#found + 1] = framed:sub(at + 4, at + 3 + size)
    at = at + 4 + size
  end
  return found
end

local dropped, needed, candidates = 0, {}, {}
local references = redis.call('HGETALL', KEYS[3])
for i = 1, #references, 2 do
  local fields = words(references[i + 1])
  local gone = fields[1] == ARGV[4]
  for j = 2, #fields do
    if gone then candidates[fields[j]] = true else needed[fields[j]] = true end
  end
  if gone then
    dropped = dropped + 1
    redis.call('ZREM', KEYS[1], references[i])
    redis.call('HDEL', KEYS[2], references[i])
    redis.call('HDEL', KEYS[3], references[i])
    redis.call('HDEL', KEYS[5], references[i])
  end
end
for field in pairs(candidates) do
  if not needed[field] then redis.call('HDEL', KEYS[4], field) end
end

-- What the run wrote behind checkpoints that were there before it.
local writes = redis.call('HGETALL', KEYS[5])
for i = 1, #writes, 2 do
  local entries, kept = words(writes[i + 1]), {}
  for j = 1, #entries, 2 do
    if entries[j] ~= ARGV[4] then
      for k = j, j + 1 do kept[#kept + 1] = struct.pack('>I4', #entries[k]) .. entries[k] end
    end
  end
  if #kept == 0 then
    redis.call('HDEL', KEYS[5], writes[i])
  elseif #kept < #entries then
    redis.call('HSET', KEYS[5], writes[i], table.concat(kept))
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[6], ARGV[3]) end
return dropped
