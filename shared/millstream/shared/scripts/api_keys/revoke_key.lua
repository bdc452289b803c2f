--[[
  Revoke an API key.

  KEY  record  hash

  Returns 'revoked'; or without a change 'was_revoked', or 'unknown'.
]]
-- with api_keys
if redis.call('EXISTS', record) == 0 then return 'unknown' end
local now_us = read_clock()
if redis.call('HSETNX', record, 'revoked_at', now_us) == 0 then return 'was_revoked' end
expire_record(record, now_us, now_us)
raise_version(now_us)
return 'revoked'
