-- Part of the scripts that say `with turn`: runs and updates have a thread one after the other, and each is
-- given the thread's next number. Its events are named by it, `<turn>-<index>`: so those of a thread have one
-- order, and a place in it tells where to go on.
local function next_turn(thread, turns, id)
  local turn = redis.call('HINCRBY', thread, 'turns', 1)
  redis.call('ZADD', turns, turn, id)
  redis.call('ZREMRANGEBYRANK', turns, 0, -1001)
  redis.call('PUBLISH', turns, '')
  return turn
end

-- Returns a function that gives the id of the run's next event (append.lua counts on by itself). The run keeps
-- the turn that it was given first; one whose thread is lost, and which never had a turn, tells its end as that
-- of turn 0. `after` is the index of the newest event that the caller knows of, if it knows one: append.lua.
local function ids_of(run, thread, turns, id, after)
  local turn = redis.call('HGET', run, 'turn')
  if after and tonumber(after) > tonumber(redis.call('HGET', run, 'index') or 0) then
    redis.call('HSET', run, 'index', after)
  end
  if not turn and redis.call('EXISTS', thread) == 1 then
    turn = next_turn(thread, turns, id)
    redis.call('HSET', run, 'turn', turn)
  end
  return function() return string.format('%s-%d', turn or 0, redis.call('HINCRBY', run, 'index', 1)) end
end
