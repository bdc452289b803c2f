-- Part of the scripts that say `with admission` (after `with expiry` and `with thread_index`): KEYS, ARGV and the reply are those
-- of admit.lua.
local function admission(KEYS, ARGV)
  local time = redis.call('TIME')
  local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
  local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)

  local created = redis.call('HGET', KEYS[4], 'created_at')
  if created then return {'admitted', created, ''} end

  local deferred = tonumber(ARGV[6]) > 0
  local known = redis.call('EXISTS', KEYS[1]) == 1
  if not known and ARGV[7] == 'refuse' or redis.call('HEXISTS', KEYS[1], 'retired') == 1 then return {'missing'} end
  local active = known and redis.call('HGET', KEYS[1], 'active')
  if active and not deferred and ARGV[5] == 'refuse' then return {'busy'} end
  if ARGV[16] ~= '' and redis.call('HGET', KEYS[1], 'interrupts') ~= ARGV[16] then return {'changed'} end
  if tonumber(ARGV[12]) > 0 and redis.call('SCARD', KEYS[7]) >= tonumber(ARGV[12]) then return {'full'} end

  if not known then
    redis.call('HSET', KEYS[1], 'created_at', now_us, 'state_updated_at', now_us, unpack(ARGV, 17))
  end
  redis.call('HSET', KEYS[1], 'updated_at', now_us, 'graph_id', ARGV[8], 'assistant_id', ARGV[9],
    'named', ARGV[14])
  file_thread(KEYS[1], ARGV[1]:match('^[^/]+'))
  redis.call('HSET', KEYS[4], 'spec', ARGV[3], 'status', ARGV[4], 'created_at', now_us, 'updated_at', now_us,
    'fence', 0, 'attempt', 0, 'graph', ARGV[8], 'protocol', ARGV[11], 'queue', ARGV[13])
  if ARGV[15] ~= '' then redis.call('HSET', KEYS[4], 'webhook', ARGV[15]) end
  redis.call('ZADD', KEYS[2], now_us, ARGV[2])
  redis.call('SADD', KEYS[7], ARGV[1])
  push_expiry(KEYS[1], KEYS[8], ARGV[1]:match('^[^/]+'), now_ms + tonumber(ARGV[6]))

  if deferred then
    -- It takes no place in the thread's FIFO before it is due: the claim gives it one.
    redis.call('ZADD', KEYS[5], now_ms + tonumber(ARGV[6]), ARGV[1])
  elseif active and ARGV[5] == 'wait' then
    redis.call('RPUSH', KEYS[3], ARGV[10])
  elseif active then
    local job, run = active:match('^(%S+) %S+ %S+ (%S+)$')
    redis.call('HSETNX', run, 'cancel', ARGV[5])
    local control = redis.call('HGET', run, 'control')
    if control then redis.call('PUBLISH', control, job) end
    redis.call('LPUSH', KEYS[3], ARGV[10])
    return {'admitted', now_us, job}
  else
    redis.call('HSET', KEYS[1], 'active', ARGV[10])
    redis.call('ZADD', KEYS[5], now_ms, ARGV[1])
    redis.call('RPUSH', KEYS[6], ARGV[1])
    redis.call('LTRIM', KEYS[6], -1000, -1) -- saturated workers leave theirs; a scan finds what is cut
  end
  return {'admitted', now_us, ''}
end

