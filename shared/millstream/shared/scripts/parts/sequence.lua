--[[
  Number the segments of a thread: its runs and updates, in the order in which they become active. An event's id is
  `<seq of its segment>-<index in it>`. So all events of a thread have one order, and an id says where a reader resumes.

  KEY  thread    hash
  KEY  segments  sorted set; also the thread's notification channel
]]
local function next_seq(segment_id)
  local seq = redis.call('HINCRBY', thread, 'last_seq', 1)
  redis.call('ZADD', segments, seq, segment_id)
  redis.call('ZREMRANGEBYRANK', segments, 0, -1001)
  redis.call('PUBLISH', segments, '')
  return seq
end

-- Returns a function that returns the id of the run's next event (append.lua counts by itself). A run keeps its first
-- seq. A run without a seq whose thread Redis has lost ends with seq 0. `after` is the index of the newest event that
-- the caller knows, or nil (append.lua says why).
local function event_ids(record, run_id, after)
  local seq = redis.call('HGET', record, 'seq')
  if after and tonumber(after) > tonumber(redis.call('HGET', record, 'index') or 0) then
    redis.call('HSET', record, 'index', after)
  end
  if not seq and redis.call('EXISTS', thread) == 1 then
    seq = next_seq(run_id)
    redis.call('HSET', record, 'seq', seq)
  end
  return function() return string.format('%s-%d', seq or 0, redis.call('HINCRBY', record, 'index', 1)) end
end

