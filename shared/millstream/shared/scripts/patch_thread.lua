--[[
  Change what a client may change of a thread: its metadata, and how long it lives.

  KEYS[1]  thread    hash
  KEYS[2]  expiring  sorted set
  KEYS[3…] the index of threads (thread_index.lua)
  ARGV[1]  token      names this request: sent again after a lost reply, it has the same answer
  ARGV[2]  thread id
  ARGV[3]  metadata   JSON as it was read: what it is merged with
  ARGV[4]  named      '1' when the caller saw no run: `named` follows from the metadata
  ARGV[5…] field, value, …

  Returns 'patched', or with nothing changed: 'missing' or 'changed' (read the thread again).
]]
-- with expiry
-- with thread_index
local thread = redis.call('HMGET', KEYS[1], 'metadata', 'token', 'retired', 'graph_id', 'created_at')
if not thread[5] or thread[3] then return 'missing' end
if thread[2] == ARGV[1] then return 'patched' end
if (thread[1] or '{}') ~= ARGV[3] or (not thread[4]) ~= (ARGV[4] == '1') then return 'changed' end
local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'updated_at', now_us, 'token', ARGV[1], unpack(ARGV, 5))
file_thread(KEYS[1], ARGV[2])
push_expiry(KEYS[1], KEYS[2], ARGV[2], math.floor(time[1] * 1000 + time[2] / 1000))
return 'patched'
