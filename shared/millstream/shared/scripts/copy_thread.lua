--[[
  Copy a thread: its record and all its checkpoints, as one new thread. Its runs stay where they are.

  KEYS[1]  thread      hash, of the source
  KEYS[2]  thread      hash, of the target
  KEYS[3]  namespaces  set, of the source
  KEYS[4]  namespaces  set, of the target
  KEYS[5]  runs        set, of the source: those that stored something in it
  KEYS[6]  runs        set, of the target
  KEYS[7]  ran         sorted set
  KEYS[8]  expiring    sorted set
  KEYS[9…] index, records, references, values, writes of each namespace: a key of the source, then
           the target's; then the index of threads (thread_index.lua)
  ARGV[1]  thread id   of the target; sent again after a lost reply, it has the same answer
  ARGV[2…] the namespaces in the order of their keys

  Returns 'copied', or with nothing changed: 'missing', 'busy' (a run is active on the source) or
  'changed' (the source has other namespaces than the caller named).
]]
-- with copy_family
-- with expiry
-- with same_namespaces
-- with thread_index
if redis.call('EXISTS', KEYS[2]) == 1 then return 'copied' end
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[1], 'retired') == 1 then return 'missing' end
if redis.call('HEXISTS', KEYS[1], 'active') == 1 then return 'busy' end
if not same_namespaces(KEYS[3], 2) then return 'changed' end

local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local its_own = {token = true, epoch = true, filed = true, turns = true}
local words = redis.call('HGETALL', KEYS[1])
for i = 1, #words, 2 do
  if not its_own[words[i]] then redis.call('HSET', KEYS[2], words[i], words[i + 1]) end
end
redis.call('HSET', KEYS[2], 'created_at', now_us, 'updated_at', now_us, 'state_updated_at', now_us)

copy_families(9, #KEYS - 8)
for i = 2, #ARGV do redis.call('SADD', KEYS[4], ARGV[i]) end
copy_runs(KEYS[5], KEYS[6], KEYS[7], ARGV[1])
push_expiry(KEYS[2], KEYS[8], ARGV[1], math.floor(time[1] * 1000 + time[2] / 1000))
file_thread(KEYS[2], ARGV[1])
return 'copied'
