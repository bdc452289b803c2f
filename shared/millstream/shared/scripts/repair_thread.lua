--[[
  Put a thread right that is busy though none of its runs is alive, or idle though runs wait.

  KEYS[1]  thread   hash
  KEYS[2]  waiting  list
  KEYS[3]  live     set
  KEYS[4…] the index of threads (thread_index.lua)
  ARGV[1]  busy     the thread's status while it has a run
  ARGV[2]  thread id
  ARGV[3…] statuses in which a run has ended

  Returns 'fine', 'released' (it was freed for its next run), or 'counted' (its run is alive and was not
  in the set of those that are: repair_run does the rest).
]]
-- with release
-- with thread_index
local time = redis.call('TIME')
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)

if redis.call('EXISTS', KEYS[1]) == 0 then return 'fine' end
local thread = redis.call('HMGET', KEYS[1], 'active', 'status')
if not thread[1] then
  if thread[2] ~= ARGV[1] and redis.call('EXISTS', KEYS[2]) == 0 then return 'fine' end
  release(KEYS[1], KEYS[2], ARGV[1], now_ms)
  file_thread(KEYS[1], ARGV[2])
  return 'released'
end
local job, run = thread[1]:match('^(%S+) %S+ %S+ (%S+)')
local status = run and redis.call('HGET', run, 'status')
local ended = not status -- or it holds what is no ticket
for i = 3, #ARGV do ended = ended or ARGV[i] == status end
if ended then
  if job then redis.call('SREM', KEYS[3], job) end
  release(KEYS[1], KEYS[2], ARGV[1], now_ms)
  file_thread(KEYS[1], ARGV[2])
  return 'released'
end
if redis.call('SADD', KEYS[3], job) == 1 then return 'counted' end
return 'fine'
