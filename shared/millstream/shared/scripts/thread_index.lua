-- Part of the scripts that say `with thread_index`: what finds threads (keys.threads_index, the last of
-- KEYS) says the same as their records. A record without `leaves` is of a thread that is not listed.

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
-- metadata's leaves. `filed` on the record are those sets.
local function file_thread(thread, thread_id)
  local record = redis.call('HMGET', thread, 'leaves', 'named', 'status', 'filed', 'created_at', 'updated_at',
    'state_updated_at')
  if not record[1] then return end
  local first = #KEYS - 7
  if not record[4] then
    redis.call('ZADD', KEYS[first], 0, thread_id)
    redis.call('ZADD', KEYS[first + 1], record[5], thread_id)
  end
  redis.call('ZADD', KEYS[first + 2], record[6], thread_id)
  redis.call('ZADD', KEYS[first + 3], record[7], thread_id)

  local words = {}
  for i = first + 4, first + 7 do
    if KEYS[i]:match('[^:]+$') == record[3] then words[1] = KEYS[i] end
  end
  local wanted = table.concat({words[1] or '', record[1], record[2] or ''}, ' ')
  if wanted == record[4] then return end
  local before, was = split(record[4] or '')
  local now, is = split(wanted)
  for _, key in ipairs(before) do
    if not is[key] then redis.call('SREM', key, thread_id) end
  end
  for _, key in ipairs(now) do
    if not was[key] then redis.call('SADD', key, thread_id) end
  end
  redis.call('HSET', thread, 'filed', wanted)
end

-- Takes the thread off all lists, for good.
local function unlist_thread(thread, thread_id)
  for i = #KEYS - 7, #KEYS - 4 do redis.call('ZREM', KEYS[i], thread_id) end
  for _, key in ipairs(split(redis.call('HGET', thread, 'filed') or '')) do redis.call('SREM', key, thread_id) end
  redis.call('HDEL', thread, 'leaves', 'named', 'filed')
end

