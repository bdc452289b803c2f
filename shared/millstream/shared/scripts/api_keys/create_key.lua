--[[
  Create an API key.

  KEY  record    hash: the new key's
  ARG  key_id
  ARG  lifetime  µs until the key expires, '' for never
  ARG  max_keys  number of keys that may exist: each API keeps a copy of them
  ARGS fields    field, value, … of the record

  Returns {created_at, expires_at} in µs, '' for never; nil without a change if there are too many keys.
]]
-- with api_keys
if redis.call('EXISTS', record) == 0 then
  if redis.call('ZCARD', index) >= tonumber(max_keys) then return false end
  local now_us = read_clock()
  local ends_at = lifetime == '' and '' or string.format('%.0f', tonumber(now_us) + tonumber(lifetime))
  write_record(record, key_id, fields, ends_at, now_us)
  raise_version(now_us)
end
return redis.call('HMGET', record, 'created_at', 'expires_at')
