-- Part of the scripts that say `with admission` (after the parts that admit.lua names): KEYS, ARGV and the reply are
-- those of admit.lua.
local function admission(KEYS, ARGV)
  local time = redis.call('TIME')
  local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
  local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)
  local job, ticket, thread_id, delay = ARGV[1], ARGV[10], ARGV[1]:match('^[^/]+'), tonumber(ARGV[6])

  local created = redis.call('HGET', KEYS[4], 'created_at')
  if created then return {'admitted', created, {}} end

  local known = redis.call('EXISTS', KEYS[1]) == 1
  if not known and ARGV[7] == 'refuse' or redis.call('HEXISTS', KEYS[1], 'retired') == 1 then return {'missing'} end
  local active = known and redis.call('HGET', KEYS[1], 'active')
  local later = known and redis.call('EXISTS', KEYS[9]) == 1
  -- An answer goes before runs that are due later: they do not change what the thread waits for.
  if ARGV[5] == 'refuse' and (active or later and ARGV[16] == '') then return {'busy'} end
  if ARGV[16] ~= '' and redis.call('HGET', KEYS[1], 'interrupts') ~= ARGV[16] then return {'changed'} end
  if tonumber(ARGV[12]) > 0 and redis.call('SCARD', KEYS[7]) >= tonumber(ARGV[12]) then return {'full'} end

  if not known then
    redis.call('HSET', KEYS[1], 'created_at', now_us, 'state_updated_at', now_us, unpack(ARGV, 24))
  end
  redis.call('HSET', KEYS[1], 'updated_at', now_us, 'graph_id', ARGV[8], 'assistant_id', ARGV[9],
    'named', ARGV[14])
  redis.call('HSET', KEYS[4], 'spec', ARGV[3], 'status', ARGV[4], 'created_at', now_us, 'updated_at', now_us,
    'fence', 0, 'attempt', 0, 'graph', ARGV[8], 'protocol', ARGV[11], 'queue', ARGV[13])
  if ARGV[15] ~= '' then redis.call('HSET', KEYS[4], 'webhook', ARGV[15]) end
  if ARGV[17] ~= '' then redis.call('HSET', KEYS[4], 'temporary', ARGV[17]) end
  redis.call('ZADD', KEYS[2], now_us, ARGV[2])
  redis.call('SADD', KEYS[7], job)
  push_expiry(KEYS[1], KEYS[8], thread_id, now_ms + delay)

  local left = {}
  if (active or later) and (ARGV[5] == 'interrupt' or ARGV[5] == 'rollback') then
    left = displace(
      {thread = KEYS[1], runs = KEYS[2], waiting = KEYS[3], live = KEYS[7], expiring = KEYS[8], deferred = KEYS[9],
        turns = KEYS[10], undone = KEYS[11], garbage = KEYS[12], deliveries = KEYS[13]},
      {status = ARGV[18], error = '', output = '', words = {}, first = 1, events_ttl = ARGV[21],
        delivery_ttl = ARGV[22], now_us = now_us, now_ms = now_ms},
      ARGV[5], ARGV[4], ARGV[19], ARGV[20], tonumber(ARGV[23]))
    active = redis.call('HGET', KEYS[1], 'active') -- a run that a worker has to end
  end

  if delay > 0 then
    -- It takes no place in the thread's FIFO before it is due: the claim gives it one.
    redis.call('ZADD', KEYS[5], now_ms + delay, job)
    redis.call('ZADD', KEYS[9], now_ms + delay, ticket)
  elseif active then
    redis.call('RPUSH', KEYS[3], ticket)
  else
    redis.call('HSET', KEYS[1], 'active', ticket)
    redis.call('ZADD', KEYS[5], now_ms, job)
    redis.call('RPUSH', KEYS[6], job)
    redis.call('LTRIM', KEYS[6], -1000, -1) -- saturated workers leave theirs; a scan finds what is cut
  end
  file_thread(KEYS[1], thread_id)
  return {'admitted', now_us, left}
end

