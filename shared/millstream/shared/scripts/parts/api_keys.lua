--[[
  The records of API keys, and their version, which tells APIs that a record has changed.

  KEY  index    sorted set: id of each key → time of creation (µs)
  KEY  version  string: rises with each change
]]
-- with clock
-- A record is kept for this long after its key has ended, so that an operator sees why a key does not work.
local KEPT_SECONDS = 30 * 86400

-- Lets the record expire. `ends_at` is when the key ends (µs), '' for never.
local function expire_record(record, ends_at, now_us)
  if ends_at == '' then return end
  local left = math.max(0, math.ceil((tonumber(ends_at) - tonumber(now_us)) / 1000000))
  redis.call('EXPIRE', record, left + KEPT_SECONDS)
end

-- Writes the record of a new key.
local function write_record(record, key_id, fields, ends_at, now_us)
  redis.call('HSET', record, 'created_at', now_us, 'expires_at', ends_at, unpack(fields))
  expire_record(record, ends_at, now_us)
  redis.call('ZADD', index, now_us, key_id)
end

local function raise_version(now_us)
  -- Of the clock, so that it differs from all earlier ones, also if Redis has lost some changes.
  local before = tonumber(redis.call('GET', version) or 0)
  redis.call('SET', version, string.format('%.0f', math.max(before + 1, tonumber(now_us))))
end
