--[[
  Delete an ended run: its record, its stream and its entries in the thread's sets. A client that follows the run and
  has not read its end yet gets its status from the notification.

  KEY  run             hash
  KEY  events          stream; also the name of its notification channel
  KEY  runs            sorted set
  KEY  segments        sorted set
  ARG  run_id
  ARGS ended_statuses  statuses in which a run has ended

  Returns 'deleted', 'missing', 'rejudge' (parts/guard.lua), or the status of a run that has not ended.
]]
-- with guard
local status = redis.call('HGET', run, 'status')
if not status then return 'missing' end
if not guard_holds() then return 'rejudge' end
for _, ended in ipairs(ended_statuses) do
  if status == ended then
    redis.call('UNLINK', run, events)
    redis.call('PUBLISH', events, status)
    redis.call('ZREM', runs, run_id)
    redis.call('ZREM', segments, run_id)
    return 'deleted'
  end
end
return status
