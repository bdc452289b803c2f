--[[
  Keep what finds a thread the same as its record. A record without `terms` is of a thread that is not listed.

  KEY  thread                       hash
  KEY  threads_by_thread_id         sorted set
  KEY  threads_by_created_at        sorted set
  KEY  threads_by_updated_at        sorted set
  KEY  threads_by_state_updated_at  sorted set
  KEYS threads_of_status            a set for each status: the last word of its key
]]

-- Returns, as a list and as a set, the words of a text.
local function split(text)
  local list, set = {}, {}
  for word in text:gmatch('%S+') do
    if not set[word] then list[#list + 1] = word end
    set[word] = true
  end
  return list, set
end

-- Lists the thread as its record is now: in the order of its times, in the sets of its status and of its
-- metadata's terms. `indexed` on the record are those sets.
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

  local of_status, ending = '', ':' .. (status or '')
  for _, key in ipairs(threads_of_status) do
    if key:sub(-#ending) == ending then of_status = key end
  end
  local wanted = table.concat({of_status, terms, run_terms or ''}, ' ')
  if wanted == indexed then return end
  local before, was = split(indexed or '')
  local now, is = split(wanted)
  for _, key in ipairs(before) do
    if not is[key] then redis.call('SREM', key, thread_id) end
  end
  for _, key in ipairs(now) do
    if not was[key] then redis.call('SADD', key, thread_id) end
  end
  redis.call('HSET', thread, 'indexed', wanted)
end

-- Takes the thread off all lists, for good.
local function unlist_thread(thread_id)
  redis.call('ZREM', threads_by_thread_id, thread_id)
  redis.call('ZREM', threads_by_created_at, thread_id)
  redis.call('ZREM', threads_by_updated_at, thread_id)
  redis.call('ZREM', threads_by_state_updated_at, thread_id)
  for _, key in ipairs(split(redis.call('HGET', thread, 'indexed') or '')) do redis.call('SREM', key, thread_id) end
  redis.call('HDEL', thread, 'terms', 'run_terms', 'indexed')
end

