--[[
  Admit a run: the run, its place in its thread and in the queue, or nothing at all.

  KEYS[1]  thread   hash
  KEYS[2]  runs     sorted set
  KEYS[3]  waiting  list
  KEYS[4]  run      hash
  KEYS[5]  queue    sorted set
  KEYS[6]  wake     list
  ARGV[1]  job id
  ARGV[2]  run id
  ARGV[3]  spec           msgpack of wire.RunSpec
  ARGV[4]  pending        the first status of a run
  ARGV[5]  when busy      'refuse' or 'wait' (shared/multitask.py)
  ARGV[6]  delay          ms before the run is due
  ARGV[7]  missing        'refuse' or 'create': what if there is no such thread
  ARGV[8]  graph id       noted on the thread, with
  ARGV[9]  assistant id
  ARGV[10] ticket         what waits in the FIFO (keys.ticket)
  ARGV[11…] field, value, … of the thread to create

  Returns {'admitted', now in µs}, {'missing'} or {'busy'}.
  A repeat with the same run id changes nothing and is 'admitted' again.
]]
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local now_ms = math.floor(time[1] * 1000 + time[2] / 1000)

local created = redis.call('HGET', KEYS[4], 'created_at')
if created then return {'admitted', created} end

local deferred = tonumber(ARGV[6]) > 0
local known = redis.call('EXISTS', KEYS[1]) == 1
if not known and ARGV[7] == 'refuse' then return {'missing'} end
local active = known and redis.call('HGET', KEYS[1], 'active')
if active and not deferred and ARGV[5] == 'refuse' then return {'busy'} end

if not known then
  redis.call('HSET', KEYS[1], 'created_at', now_us, 'state_updated_at', now_us, unpack(ARGV, 11))
end
redis.call('HSET', KEYS[1], 'updated_at', now_us, 'graph_id', ARGV[8], 'assistant_id', ARGV[9])
redis.call('HSET', KEYS[4], 'spec', ARGV[3], 'status', ARGV[4], 'created_at', now_us, 'updated_at', now_us,
  'fence', 0, 'attempt', 0)
redis.call('ZADD', KEYS[2], now_us, ARGV[2])

if deferred then
  -- It takes no place in the thread's FIFO before it is due: the claim gives it one.
  redis.call('ZADD', KEYS[5], now_ms + tonumber(ARGV[6]), ARGV[1])
elseif active then
  redis.call('RPUSH', KEYS[3], ARGV[10])
else
  redis.call('HSET', KEYS[1], 'active', ARGV[2])
  redis.call('ZADD', KEYS[5], now_ms, ARGV[1])
  redis.call('RPUSH', KEYS[6], ARGV[1])
end
return {'admitted', now_us}
