--[[
  Delete a cron. Its runs, and their threads, stay.

  KEYS[1]  cron    hash
  KEYS[2]  crons   sorted set
  KEYS[3]  crons   set, of its thread
  KEYS[4]  thread  hash
  ARGV[1]  cron id
  ARGV[2]  when    'now'; 'stray': only if the thread, or the record, is gone

  Returns 1, or 0 when there was no such cron, or it is no stray, and nothing changed.
]]
-- with forget_cron
if ARGV[2] == 'stray' and redis.call('EXISTS', KEYS[1]) == 1 and redis.call('EXISTS', KEYS[4]) == 1 then return 0 end
return forget_cron(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
