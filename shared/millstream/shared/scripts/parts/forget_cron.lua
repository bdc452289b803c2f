--[[
  Delete a cron, its place among all crons and that among its thread's. Returns 1, or 0 when there was none.

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

