--[[
  Delete a cron. Its runs, and their threads, stay.

  KEY  cron    hash
  KEY  thread  hash
  ARG  when    'now'; 'orphaned': only if the cron's thread or its record does not exist

  Returns 1, or 0 without a change if the cron does not exist or is not orphaned.
]]
-- with forget_cron
if when == 'orphaned' and redis.call('EXISTS', cron) == 1 and redis.call('EXISTS', thread) == 1 then return 0 end
return forget_cron()
