-- Part of the scripts that say `with forget_cron`: a cron goes, with its place among all and its thread's.
local function forget_cron(cron, crons, crons_of_thread, cron_id)
  redis.call('ZREM', crons, cron_id)
  redis.call('SREM', crons_of_thread, cron_id)
  return redis.call('DEL', cron)
end

