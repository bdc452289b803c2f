--[[
  End runs of a thread that an admission displaced and left to its caller (parts/displacement.lua): they are marked, and
  no worker holds them. A run that has ended meanwhile is skipped.

  ARG  pending    status of a run that no worker holds
  ARG  cancelled  status that the run gets
  ARGS run_refs   run references (keys.run_ref)

  It also takes what parts/ending.lua declares.

  Returns the number of runs that it ended.
]]
-- with clock
-- with run_ref
-- with ending
local now_us, now_ms = read_clock()
-- Cause.CANCELLED (shared/rules/lifecycle.py)
local ending = {status = cancelled, cause = 'cancelled', error = '', output = '', now_us = now_us, now_ms = now_ms}
local ended = 0
for _, run_ref in ipairs(run_refs) do
  local displaced = read_run_ref(run_ref)
  local status, fence, cancel, its_backlog
  if displaced then
    status, fence, cancel, its_backlog =
      unpack(redis.call('HMGET', displaced.record, 'status', 'fence', 'cancel', 'backlog'))
  end
  ending.forget = cancel == 'rollback'
  if status == pending and cancel and not (ending.forget and fence ~= '0') then
    -- First, so that it also works when Redis is out of memory (renew.lua).
    redis.call('ZREM', displaced.queue, displaced.job)
    if its_backlog then redis.call('ZREM', its_backlog, displaced.job) end
    end_run(displaced, ending)
    ended = ended + 1
  end
end
return ended
