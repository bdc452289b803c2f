--[[
  Copy a thread: its record and all its checkpoints, as one new thread. Its runs stay where they are.

  KEY  source     hash, of the source
  KEY  thread     hash, of the target
  ARG  thread_id  of the target; sent again after a lost reply, it has the same answer

  Returns 'copied', or with nothing changed: 'missing', 'busy' (a run is active on the source) or
  'changed' (the source has other namespaces than the caller run_terms).
]]
-- with clock
-- with copy_family
-- with expiry
-- with same_namespaces
-- with thread_index
if redis.call('EXISTS', thread) == 1 then return 'copied' end
if redis.call('EXISTS', source) == 0 or redis.call('HEXISTS', source, 'retired') == 1 then return 'missing' end
if redis.call('HEXISTS', source, 'active') == 1 then return 'busy' end
if not same_namespaces() then return 'changed' end

local now_us, now_ms = read_clock()
local its_own = {token = true, epoch = true, indexed = true, last_seq = true}
local record = redis.call('HGETALL', source)
for i = 1, #record, 2 do
  if not its_own[record[i]] then redis.call('HSET', thread, record[i], record[i + 1]) end
end
redis.call('HSET', thread, 'created_at', now_us, 'updated_at', now_us, 'state_updated_at', now_us)

copy_families()
push_expiry(thread_id, now_ms)
index_thread(thread_id)
return 'copied'
