--[[
  Number the runs and updates that have a thread, one after the other. The events of each are named by its number,
  `<seq>-<index>`: so those of a thread have one order, and a place in it tells where to go on.

  KEY  thread  hash
  KEY  segments   sorted set, and the name of the thread's doorbell
]]
local function next_seq(id)
  local seq = redis.call('HINCRBY', thread, 'last_seq', 1)
  redis.call('ZADD', segments, seq, id)
  redis.call('ZREMRANGEBYRANK', segments, 0, -1001)
  redis.call('PUBLISH', segments, '')
  return seq
end

-- Returns a function that gives the id of the run's next event (append.lua counts on by itself). The run keeps
-- the seq that it was given first; one whose thread is lost, and which never had a seq, ends in seq 0.
-- `after` is the index of the newest event that the caller knows of, if it knows one: append.lua.
local function ids_of(record, id, after)
  local seq = redis.call('HGET', record, 'seq')
  if after and tonumber(after) > tonumber(redis.call('HGET', record, 'index') or 0) then
    redis.call('HSET', record, 'index', after)
  end
  if not seq and redis.call('EXISTS', thread) == 1 then
    seq = next_seq(id)
    redis.call('HSET', record, 'seq', seq)
  end
  return function() return string.format('%s-%d', seq or 0, redis.call('HINCRBY', record, 'index', 1)) end
end

