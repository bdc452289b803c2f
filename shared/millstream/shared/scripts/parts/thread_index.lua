--[[
  Keep the index of threads equal to a thread's record. Searches do not list a thread whose record has no `terms`.

  KEY  thread                       hash
  KEY  threads_by_thread_id         sorted set
  KEY  threads_by_created_at        sorted set
  KEY  threads_by_updated_at        sorted set
  KEY  threads_by_state_updated_at  sorted set
  KEYS threads_of_status            set, one a status; its key ends with `:` and the status
]]

-- Returns the blank-separated keys in a text, as a list and as a set.
local function split_keys(text)
  local list, set = {}, {}
  for key in text:gmatch('%S+') do
    if not set[key] then list[#list + 1] = key end
    set[key] = true
  end
  return list, set
end

-- Indexes the thread as its record is now: in the sorted sets of its times, and in the sets of its status and of its
-- metadata's terms. The field `indexed` lists the sets that the thread is in.
local function index_thread(thread_id)
  local terms, run_terms, status, indexed, created_at, updated_at, state_updated_at = unpack(redis.call('HMGET', thread,
    'terms', 'run_terms', 'status', 'indexed', 'created_at', 'updated_at', 'state_updated_at'))
  if not terms then return end
  if not indexed then
    redis.call('ZADD', threads_by_thread_id, 0, thread_id)
    redis.call('ZADD', threads_by_created_at, created_at, thread_id)
  end
  redis.call('ZADD', threads_by_updated_at, updated_at, thread_id)
  redis.call('ZADD', threads_by_state_updated_at, state_updated_at, thread_id)

  local status_key, suffix = '', ':' .. (status or '')
  for _, key in ipairs(threads_of_status) do
    if key:sub(-#suffix) == suffix then status_key = key end
  end
  local sets = table.concat({status_key, terms, run_terms or ''}, ' ')
  if sets == indexed then return end
  local old_keys, is_old = split_keys(indexed or '')
  local new_keys, is_new = split_keys(sets)
  for _, key in ipairs(old_keys) do
    if not is_new[key] then redis.call('SREM', key, thread_id) end
  end
  for _, key in ipairs(new_keys) do
    if not is_old[key] then redis.call('SADD', key, thread_id) end
  end
  redis.call('HSET', thread, 'indexed', sets)
end

-- Removes the thread from the index for good: its record loses `terms`.
local function unlist_thread(thread_id)
  redis.call('ZREM', threads_by_thread_id, thread_id)
  redis.call('ZREM', threads_by_created_at, thread_id)
  redis.call('ZREM', threads_by_updated_at, thread_id)
  redis.call('ZREM', threads_by_state_updated_at, thread_id)
  local indexed = redis.call('HGET', thread, 'indexed') or ''
  for _, key in ipairs(split_keys(indexed)) do redis.call('SREM', key, thread_id) end
  redis.call('HDEL', thread, 'terms', 'run_terms', 'indexed')
end

