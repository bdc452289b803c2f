--[[
  Delete a cron's record and its entries in the sets of all crons and of its thread's crons.

  Returns 1, or 0 if the cron does not exist.

  KEY  cron             hash
  KEY  crons            sorted set
  KEY  crons_of_thread  set
  ARG  cron_id
]]
local function forget_cron()
  redis.call('ZREM', crons, cron_id)
  redis.call('SREM', crons_of_thread, cron_id)
  return redis.call('DEL', cron)
end

