--[[
  Cancel all pending, running and deferred runs of a thread.

  A worker must end a run that it holds, and a run whose checkpoints it must roll back. These runs keep their places,
  ahead of later runs. The other runs leave the queue and the thread's FIFO, so that no claim takes them. This script
  ends the first `max_ended` of them. It only marks the rest, which is quicker, so that it never delays other commands
  for long. The caller ends the marked runs in further steps (end_displaced.lua); if the caller dies, the reaper does.

  KEY  thread     hash
  KEY  waiting    list
  KEY  deferred   sorted set
  ARG  pending    status
  ARG  running    status
  ARG  max_ended  number of displaced runs that this script ends
]]
-- with release
-- with run_ref
-- with note_cancel
-- with ending
local SUPERSEDED = 'superseded' -- CancelReason.SUPERSEDED (shared/rules/multitask.py)
local CANCELLED = 'cancelled' -- Cause.CANCELLED (shared/rules/lifecycle.py)
-- Returns the run references of the runs that are marked and left to the caller.
local function displace(action, cancelled, now_us, now_ms)
  local active = redis.call('HGET', thread, 'active')
  local run_refs = redis.call('LRANGE', waiting, 0, -1)
  if active then table.insert(run_refs, 1, active) end
  local first_deferred = #run_refs + 1
  for _, run_ref in ipairs(redis.call('ZRANGE', deferred, 0, -1)) do run_refs[#run_refs + 1] = run_ref end
  redis.call('DEL', waiting, deferred)
  redis.call('HDEL', thread, 'active')

  local ended, marked = 0, {}
  local ending = {status = cancelled, cause = CANCELLED, error = '', output = '', now_us = now_us, now_ms = now_ms}
  for i, run_ref in ipairs(run_refs) do
    local displaced = read_run_ref(run_ref)
    local status, fence, cancel, control, its_backlog
    if displaced then
      status, fence, cancel, control, its_backlog =
        unpack(redis.call('HMGET', displaced.record, 'status', 'fence', 'cancel', 'control', 'backlog'))
    end
    local rolled_back = (cancel or action) == 'rollback'
    if status == running or status == pending and rolled_back and fence ~= '0' then
      note_cancel(displaced.record, displaced.job, action, control, SUPERSEDED, now_ms)
      if run_ref == active then
        redis.call('HSET', thread, 'active', run_ref)
      else
        redis.call('RPUSH', waiting, run_ref)
      end
    elseif status == pending then
      if run_ref == active or i >= first_deferred then
        redis.call('ZREM', displaced.queue, displaced.job)
        if its_backlog then redis.call('ZREM', its_backlog, displaced.job) end
      end
      redis.call('HSETNX', displaced.record, 'reason', SUPERSEDED)
      if ended < tonumber(max_ended) then
        ending.forget = rolled_back
        end_run(displaced, ending)
        ended = ended + 1
      else
        redis.call('HSETNX', displaced.record, 'cancel', action)
        redis.call('HSETNX', displaced.record, 'cancel_at', now_ms)
        marked[#marked + 1] = run_ref
      end
    end
  end
  if active and redis.call('HEXISTS', thread, 'active') == 0 then release(now_ms) end
  return marked
end

