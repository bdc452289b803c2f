-- Part of the scripts that say `with turn`: runs and updates have a thread one after the other, and in that
-- order the thread's stream shows them. The first word counts: a run that is claimed again has its turn.
local function take_turn(turns, id, now_us)
  if redis.call('ZADD', turns, 'NX', now_us, id) == 1 then
    redis.call('ZREMRANGEBYRANK', turns, 0, -1001)
    redis.call('PUBLISH', turns, '')
  end
end
