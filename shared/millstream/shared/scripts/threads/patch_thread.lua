--[[
  Change a thread's metadata and `ttl`.

  KEY  thread     hash
  ARG  token      identifies this request: a repeat after a lost reply gets the same reply
  ARG  thread_id
  ARG  metadata   JSON, as the caller read it to merge the new metadata into
  ARG  no_run     '1' if the thread had no run when the caller read it, so that `fields` has `run_terms`; else ''
  ARGS fields     field, value, …

  Returns 'patched', or without a change 'missing' or 'changed' (read the thread again).
]]
-- with clock
-- with expiry
-- with thread_index
local current, last_token, retired, graph_id, created_at =
  unpack(redis.call('HMGET', thread, 'metadata', 'token', 'retired', 'graph_id', 'created_at'))
if not created_at or retired then return 'missing' end
if last_token == token then return 'patched' end
if (current or '{}') ~= metadata or (not graph_id) ~= (no_run == '1') then return 'changed' end
local now_us, now_ms = read_clock()
redis.call('HSET', thread, 'updated_at', now_us, 'token', token, unpack(fields))
index_thread(thread_id)
push_expiry(thread_id, now_ms)
return 'patched'
