--[[
  Change what a client may change of a thread: its metadata, and how long it lives.

  KEY  thread     hash
  ARG  token      names this request: sent again after a lost reply, it has the same answer
  ARG  thread_id
  ARG  metadata   JSON as it was read: what it is merged with
  ARG  run_terms      '1' when the caller saw no run: `run_terms` follows from the metadata
  ARGS fields     field, value, …

  Returns 'patched', or with nothing changed: 'missing' or 'changed' (read the thread again).
]]
-- with clock
-- with expiry
-- with thread_index
local current, last_token, retired, graph_id, created_at =
  unpack(redis.call('HMGET', thread, 'metadata', 'token', 'retired', 'graph_id', 'created_at'))
if not created_at or retired then return 'missing' end
if last_token == token then return 'patched' end
if (current or '{}') ~= metadata or (not graph_id) ~= (run_terms == '1') then return 'changed' end
local now_us, now_ms = read_clock()
redis.call('HSET', thread, 'updated_at', now_us, 'token', token, unpack(fields))
index_thread(thread_id)
push_expiry(thread_id, now_ms)
return 'patched'
