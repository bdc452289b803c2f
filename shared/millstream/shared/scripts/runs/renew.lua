--[[
  Renew the lease of a running run.

  KEY  run      hash
  KEY  queue    sorted set
  ARG  job      job id
  ARG  fence
  ARG  lease    ms
  ARG  running  status of a run that a worker holds

  Returns 'held'; 'lost' without a change; or the action of a requested cancel ('interrupt', 'rollback'), with the lease
  renewed.
]]
-- with clock
local current, status, cancel, lease_extended =
  unpack(redis.call('HMGET', run, 'fence', 'status', 'cancel', 'lease_extended'))
if current ~= fence or status ~= running then return 'lost' end
local now_ms = read_clock_ms()
-- Removed first: if Redis is out of memory, a script whose first write frees memory may continue.
redis.call('ZREM', queue, job)
redis.call('ZADD', queue, now_ms + tonumber(lease), job)
if lease_extended then redis.call('HDEL', run, 'lease_extended') end -- by claim.lua
return cancel or 'held'
