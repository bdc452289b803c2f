--[[
  Repair a thread that is busy though all its runs have ended, or idle though runs wait.

  KEY  thread          hash
  KEY  waiting         list
  KEY  live            set
  ARG  busy            status of a thread that has an active run
  ARG  thread_id
  ARGS ended_statuses  statuses in which a run has ended

  Returns 'fine'      nothing changed
          'released'  the thread's next run is active, or the thread is idle
          'counted'   its active run was missing in the set of live runs; repair_run does the rest
]]
-- with clock
-- with release
-- with thread_index
local now_ms = read_clock_ms()

if redis.call('EXISTS', thread) == 0 then return 'fine' end
local active, thread_status = unpack(redis.call('HMGET', thread, 'active', 'status'))
if not active then
  if thread_status ~= busy and redis.call('EXISTS', waiting) == 0 then return 'fine' end
  release(now_ms)
  index_thread(thread_id)
  return 'released'
end
local job, run = active:match('^(%S+) %S+ %S+ (%S+)')
local status = run and redis.call('HGET', run, 'status')
local ended = not status -- also for an invalid run reference
for _, each in ipairs(ended_statuses) do ended = ended or each == status end
if ended then
  if job then redis.call('SREM', live, job) end
  release(now_ms)
  index_thread(thread_id)
  return 'released'
end
if redis.call('SADD', live, job) == 1 then return 'counted' end
return 'fine'
