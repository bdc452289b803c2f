--[[
  Create a thread as a copy of another: its record and all its checkpoints, without its runs.

  KEY  source     hash
  KEY  thread     hash: the target
  ARG  thread_id  of the target; a repeat after a lost reply gets the same reply
  ARG  metadata   JSON of the source's metadata, as the caller read it to compute `fields`; '' if there are none
  ARGS fields     field, value, … of the target in place of the source's
  ARGS resealed   name, value that the caller read, value for the target, … of each sealed field: a value is sealed for
                  its thread alone

  Returns 'copied', or without a change 'missing', 'rejudge' (the source has other metadata), 'busy' (a run is active on
  the source) or 'changed' (the source has other namespaces or sealed fields than the caller read).
]]
-- with clock
-- with copy_namespaces
-- with expiry
-- with same_namespaces
-- with thread_index
if redis.call('EXISTS', thread) == 1 then return 'copied' end
if redis.call('EXISTS', source) == 0 or redis.call('HEXISTS', source, 'retired') == 1 then return 'missing' end
if metadata ~= '' and (redis.call('HGET', source, 'metadata') or '{}') ~= metadata then return 'rejudge' end
if redis.call('HEXISTS', source, 'active') == 1 then return 'busy' end
if not same_namespaces() then return 'changed' end
for i = 1, #resealed, 3 do
  if redis.call('HGET', source, resealed[i]) ~= resealed[i + 1] then return 'changed' end
end

local now_us, now_ms = read_clock()
local is_excluded = {token = true, epoch = true, indexed = true, last_seq = true}
local record = redis.call('HGETALL', source)
for i = 1, #record, 2 do
  if not is_excluded[record[i]] then redis.call('HSET', thread, record[i], record[i + 1]) end
end
for i = 1, #resealed, 3 do redis.call('HSET', thread, resealed[i], resealed[i + 2]) end
redis.call('HSET', thread, 'created_at', now_us, 'updated_at', now_us, 'state_updated_at', now_us, unpack(fields))

copy_namespaces()
push_expiry(thread_id, now_ms)
index_thread(thread_id)
return 'copied'
