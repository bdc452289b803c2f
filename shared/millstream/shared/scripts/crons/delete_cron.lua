--[[
  Delete a cron. Its runs, and their threads, stay.

  KEY  cron    hash
  KEY  thread  hash
  ARG  when    'now'; 'orphaned': only if the cron's thread or its record does not exist
  ARG  version as the caller read it to judge its rights; '' for any

  Returns 1, or without a change 0 if the cron does not exist or is not orphaned, -1 if it has another version.
]]
-- with forget_cron
if when == 'orphaned' and redis.call('EXISTS', cron) == 1 and redis.call('EXISTS', thread) == 1 then return 0 end
local current = redis.call('HGET', cron, 'version')
if version ~= '' and current and current ~= version then return -1 end
return forget_cron()
