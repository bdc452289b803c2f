--[[
  Create a cron.

  KEY  cron             hash
  KEY  crons            sorted set
  KEY  thread           hash
  KEY  crons_of_thread  set
  ARG  cron_id
  ARG  due              ms, or '+inf' for never
  ARG  on_thread        '1'; '' for a cron without a thread, for which the keys name a thread that never exists
  ARGS fields           field, value, … of the cron

  Returns the time of creation in µs, or without a change '' if the thread does not exist, 'rejudge' (parts/guard.lua).
  A repeat with the same cron id changes nothing and gets the same reply.
]]
-- with clock
-- with guard
local created = redis.call('HGET', cron, 'created_at')
if created then return created end
if on_thread ~= '' then
  if redis.call('EXISTS', thread) == 0 or redis.call('HEXISTS', thread, 'retired') == 1 then return '' end
  if not guard_holds() then return 'rejudge' end
  redis.call('SADD', crons_of_thread, cron_id)
end
local now_us = read_clock()
redis.call('HSET', cron, 'created_at', now_us, 'updated_at', now_us, 'version', 0, unpack(fields))
redis.call('ZADD', crons, due, cron_id)
return now_us
