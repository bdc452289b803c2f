--[[
  Change a cron, if its record is still the one that the caller read.

  KEY  cron     hash
  KEY  crons    sorted set
  ARG  cron_id
  ARG  version  as the caller read it
  ARG  due      ms, or '+inf' for never; '' leaves it as it is
  ARGS fields   field, value, …

  Returns 'updated', or without a change 'missing' or 'changed' (read the cron again).
]]
-- with clock
local current = redis.call('HGET', cron, 'version')
if not current then return 'missing' end
if current ~= version then return 'changed' end
redis.call('HSET', cron, 'updated_at', (read_clock()), 'version', version + 1, unpack(fields))
if due ~= '' then redis.call('ZADD', crons, due, cron_id) end
return 'updated'
