--[[
  Create a cron, on a thread that is there and stays.

  KEY  cron             hash
  KEY  crons            sorted set
  KEY  thread           hash
  KEY  crons_of_thread  set, of the thread
  ARG  cron_id
  ARG  due              ms, or '+inf'
  ARG  on_thread        '1'; '' for a cron without a thread, for which the keys are of a thread that is never there
  ARGS fields           field, value, … of the cron

  Returns its time of creation in µs, or '' with nothing changed: there is no such thread.
  A repeat with the same cron id changes nothing and has the same answer.
]]
-- with clock
local created = redis.call('HGET', cron, 'created_at')
if created then return created end
if on_thread ~= '' then
  if redis.call('EXISTS', thread) == 0 or redis.call('HEXISTS', thread, 'retired') == 1 then return '' end
  redis.call('SADD', crons_of_thread, cron_id)
end
local now_us = read_clock()
redis.call('HSET', cron, 'created_at', now_us, 'updated_at', now_us, 'version', 0, unpack(fields))
redis.call('ZADD', crons, due, cron_id)
return now_us
