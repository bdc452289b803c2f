--[[
  Number the runs and updates that have a thread, one after the other. The events of each are named by its number,
  `<turn>-<index>`: so those of a thread have one order, and a place in it tells where to go on.

  KEY  thread  hash
  KEY  turns   sorted set, and the name of the thread's doorbell
]]
local function next_turn(id)
  local turn = redis.call('HINCRBY', thread, 'turns', 1)
  redis.call('ZADD', turns, turn, id)
  redis.call('ZREMRANGEBYRANK', turns, 0, -1001)
  redis.call('PUBLISH', turns, '')
  return turn
end

-- Returns a function that gives the id of the run's next event (append.lua counts on by itself). The run keeps
-- the turn that it was given first; one whose thread is lost, and which never had a turn, ends in turn 0.
-- `after` is the index of the newest event that the caller knows of, if it knows one: append.lua.
local function ids_of(record, id, after)
  local turn = redis.call('HGET', record, 'turn')
  if after and tonumber(after) > tonumber(redis.call('HGET', record, 'index') or 0) then
    redis.call('HSET', record, 'index', after)
  end
  if not turn and redis.call('EXISTS', thread) == 1 then
    turn = next_turn(id)
    redis.call('HSET', record, 'turn', turn)
  end
  return function() return string.format('%s-%d', turn or 0, redis.call('HINCRBY', record, 'index', 1)) end
end

