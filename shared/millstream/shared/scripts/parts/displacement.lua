--[[
  Cancel all runs of a thread that are pending or running, also those that are due later.

  A run that a worker has to end (one holds it, or it left checkpoints that are to be rolled back) keeps its place,
  before all that come. The others leave every place from which a claim could take them. The first `max_ended` of
  them are ended here. Those beyond it are only marked, which is quicker, so that the script delays no other command
  for long; their run_refs are returned. The caller ends them in further steps (end_displaced.lua), or the reaper if
  the caller dies.

  KEY  thread      hash
  KEY  waiting     list
  KEY  deferred    sorted set
  ARG  pending     a status
  ARG  running     a status
  ARG  max_ended  displaced runs that are ended here
]]
-- with release
-- with run_ref
-- with note_cancel
-- with ending
local SUPERSEDED = 'superseded' -- CancelReason.SUPERSEDED of multitask.py
local function displace(action, cancelled, now_us, now_ms)
  local active = redis.call('HGET', thread, 'active')
  local run_refs = redis.call('LRANGE', waiting, 0, -1)
  if active then table.insert(run_refs, 1, active) end
  local first_later = #run_refs + 1
  for _, run_ref in ipairs(redis.call('ZRANGE', deferred, 0, -1)) do run_refs[#run_refs + 1] = run_ref end
  redis.call('DEL', waiting, deferred)
  redis.call('HDEL', thread, 'active')

  local ended, left = 0, {}
  local ending = {status = cancelled, error = '', output = '', now_us = now_us, now_ms = now_ms}
  for i, run_ref in ipairs(run_refs) do
    local displaced = read_run_ref(run_ref)
    local status, fence, cancel, control
    if displaced then
      status, fence, cancel, control =
        unpack(redis.call('HMGET', displaced.record, 'status', 'fence', 'cancel', 'control'))
    end
    local rolled_back = (cancel or action) == 'rollback'
    if status == running or status == pending and rolled_back and fence ~= '0' then
      note_cancel(displaced.record, displaced.job, action, control, SUPERSEDED)
      if run_ref == active then
        redis.call('HSET', thread, 'active', run_ref)
      else
        redis.call('RPUSH', waiting, run_ref)
      end
    elseif status == pending then
      if run_ref == active or i >= first_later then redis.call('ZREM', displaced.queue, displaced.job) end
      redis.call('HSETNX', displaced.record, 'reason', SUPERSEDED)
      if ended < tonumber(max_ended) then
        ending.forget = rolled_back
        end_run(displaced, ending)
        ended = ended + 1
      else
        redis.call('HSETNX', displaced.record, 'cancel', action)
        left[#left + 1] = run_ref
      end
    end
  end
  if active and redis.call('HEXISTS', thread, 'active') == 0 then release(now_ms) end
  return left
end

