--[[
  Change a cron, if it is still what the caller has read.

  KEY  cron     hash
  KEY  crons    sorted set
  ARG  cron_id
  ARG  version  as the caller read it
  ARG  due      ms, or '+inf'; '' leaves it, also if it has moved on meanwhile
  ARGS fields   field, value, …

  Returns 'updated', or with nothing changed: 'missing' or 'changed' (read it again).
]]
-- with clock
local current = redis.call('HGET', cron, 'version')
if not current then return 'missing' end
if current ~= version then return 'changed' end
redis.call('HSET', cron, 'updated_at', (read_clock()), 'version', version + 1, unpack(fields))
if due ~= '' then redis.call('ZADD', crons, due, cron_id) end
return 'updated'
