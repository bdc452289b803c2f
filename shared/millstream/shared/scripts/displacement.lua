-- Part of the scripts that say `with displacement` (after `with release`, `with ticket`, `with note_cancel` and
-- `with ending`): cancels all runs of a thread that are pending or running, also those that are due later.
--
-- A run that a worker has to end (one holds it, or it left checkpoints that are to be rolled back) keeps its place,
-- before all that come. The others leave every place from which a claim could take them. The first `most` of them are
-- ended here. Those beyond it are only marked, which is quicker, so that the script holds nobody up for long; their
-- tickets are returned. The caller ends them in further steps (end_displaced.lua), or the reaper if the caller dies.
--   keys  those of `ending`, and waiting, deferred
--   told  that of `ending`, without `forget`
local SUPERSEDED = 'superseded' -- CancelReason.SUPERSEDED of multitask.py
local function displace(keys, told, action, pending, running, busy, most)
  local active = redis.call('HGET', keys.thread, 'active')
  local tickets = redis.call('LRANGE', keys.waiting, 0, -1)
  if active then table.insert(tickets, 1, active) end
  local first_later = #tickets + 1
  for _, ticket in ipairs(redis.call('ZRANGE', keys.deferred, 0, -1)) do tickets[#tickets + 1] = ticket end
  redis.call('DEL', keys.waiting, keys.deferred)
  redis.call('HDEL', keys.thread, 'active')

  local ended, left = 0, {}
  for i, ticket in ipairs(tickets) do
    local run = read_ticket(ticket)
    local found = run and redis.call('HMGET', run.record, 'status', 'fence', 'cancel', 'control') or {}
    local rolled_back = (found[3] or action) == 'rollback'
    if found[1] == running or found[1] == pending and rolled_back and found[2] ~= '0' then
      note_cancel(run.record, run.job, action, found[4], SUPERSEDED)
      if ticket == active then
        redis.call('HSET', keys.thread, 'active', ticket)
      else
        redis.call('RPUSH', keys.waiting, ticket)
      end
    elseif found[1] == pending then
      if ticket == active or i >= first_later then redis.call('ZREM', run.queue, run.job) end
      redis.call('HSETNX', run.record, 'reason', SUPERSEDED)
      if ended < most then
        told.forget = rolled_back
        end_run(run, keys, told)
        ended = ended + 1
      else
        redis.call('HSETNX', run.record, 'cancel', action)
        left[#left + 1] = ticket
      end
    end
  end
  if active and redis.call('HEXISTS', keys.thread, 'active') == 0 then
    release(keys.thread, keys.waiting, busy, told.now_ms)
  end
  return left
end
