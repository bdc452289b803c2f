--[[
  Create the successor of an API key, with its name, identity and scopes. Both are valid for a grace period; then the
  older one has expired.

  KEY  record        hash: the older key's
  KEY  successor     hash: the new key's
  ARG  successor_id
  ARG  digest        of the new key
  ARG  grace         µs
  ARG  lifetime      µs until the new key expires; '' for as long as the older one was made for
  ARG  max_keys      number of keys that may exist

  Returns {created_at, expires_at of the new key, expires_at of the older one} in µs, '' for never; or without a change
          'unknown', 'ended' (revoked, expired or rotated before) or 'full'.
]]
-- with api_keys
local created_at, expires_at, revoked_at, rotated_to, name, identity, scopes = unpack(redis.call('HMGET', record,
  'created_at', 'expires_at', 'revoked_at', 'rotated_to', 'name', 'identity', 'scopes'))
if not created_at then return 'unknown' end
local now_us = read_clock()
if rotated_to ~= successor_id then -- it is the same in a repeat of this call
  if revoked_at or rotated_to or expires_at ~= '' and tonumber(expires_at) <= tonumber(now_us) then return 'ended' end
  if redis.call('ZCARD', index) >= tonumber(max_keys) then return 'full' end
  local lasts = tonumber(lifetime)
  if not lasts and expires_at ~= '' then lasts = tonumber(expires_at) - tonumber(created_at) end
  local ends_at = lasts and string.format('%.0f', tonumber(now_us) + lasts) or ''
  write_record(successor, successor_id, {'digest', digest, 'name', name, 'identity', identity, 'scopes', scopes},
    ends_at, now_us)
  local older_ends_at = tonumber(now_us) + tonumber(grace)
  if expires_at ~= '' then older_ends_at = math.min(older_ends_at, tonumber(expires_at)) end
  expires_at = string.format('%.0f', older_ends_at)
  redis.call('HSET', record, 'rotated_to', successor_id, 'expires_at', expires_at)
  expire_record(record, expires_at, now_us)
  raise_version(now_us)
end
local times = redis.call('HMGET', successor, 'created_at', 'expires_at')
return {times[1], times[2], expires_at}
