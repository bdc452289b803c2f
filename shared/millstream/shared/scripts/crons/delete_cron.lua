--[[
  Delete a cron. Its runs, and their threads, stay.

  KEY  cron    hash
  KEY  thread  hash
  ARG  when    'now'; 'stray': only if the thread, or the record, is gone

  Returns 1, or 0 when there was no such cron, or it is no stray, and nothing changed.
]]
-- with forget_cron
if when == 'stray' and redis.call('EXISTS', cron) == 1 and redis.call('EXISTS', thread) == 1 then return 0 end
return forget_cron()
