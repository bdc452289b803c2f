--[[
  Close a thread to new runs, because it is about to be deleted.

  KEYS[1]  thread    hash
  KEYS[2]  retired   set
  KEYS[3]  runs      sorted set
  KEYS[4]  live      set
  KEYS[5]  expiring  sorted set
  KEYS[6…] the index of threads (thread_index.lua): it is found no more
  ARGV[1]  thread id
  ARGV[2]  when      'now'; 'idle': only if none of its runs is alive; 'due': if its time is over, too

  Returns 'retired', or with nothing changed: 'missing', 'busy' or 'early'.
]]
-- with thread_index
if redis.call('EXISTS', KEYS[1]) == 0 then return 'missing' end
if ARGV[2] ~= 'now' then
  if ARGV[2] == 'due' then
    local time = redis.call('TIME')
    local due = redis.call('ZSCORE', KEYS[5], ARGV[1])
    if not due or tonumber(due) > time[1] * 1000 + time[2] / 1000 then return 'early' end
  end
  if redis.call('HEXISTS', KEYS[1], 'active') == 1 then return 'busy' end
  for _, run_id in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do -- those that are due later
    if redis.call('SISMEMBER', KEYS[4], ARGV[1] .. '/' .. run_id) == 1 then return 'busy' end
  end
end
redis.call('HDEL', KEYS[1], 'token') -- first, so that it works without memory too (renew.lua)
unlist_thread(KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], 'retired', 1)
redis.call('SADD', KEYS[2], ARGV[1])
return 'retired'
