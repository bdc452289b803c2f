--[[
  Delete a retired thread with all that belongs to it, once no run of it is left alive. Who follows
  one of its runs, and has not read the end yet, is told the run's status by the doorbell; who follows
  the thread hears its doorbell, and finds that it is gone.

  KEYS[1]  thread   hash
  KEYS[2]  waiting  list
  KEYS[3]  retired  set
  KEYS[4]  ran      sorted set
  KEYS[5]  runs     set, of those that stored checkpoints in the thread
  KEYS[6]  expiring sorted set
  KEYS[7]  garbage  sorted set
  KEYS[8]  crons    sorted set
  KEYS[9]  turns    sorted set, and the name of the thread's doorbell
  KEYS[10…] run, events, run, events, …; then everything else of the thread, its crons too
  ARGV[1]  n            how many of these keys are runs and events
  ARGV[2]  interrupted  the status of a run that was rolled back: its record is gone already
  ARGV[3]  thread id
  ARGV[4]  the member of garbage: a checkpointer that is not ours deletes what it has of the thread
  ARGV[5…] ids of the crons

  Returns 1, or 0 when a run is still alive (or the thread is not retired) and nothing changed.
]]
-- with forget_runs
if redis.call('HEXISTS', KEYS[1], 'active') == 1 then return 0 end
if redis.call('HEXISTS', KEYS[1], 'retired') == 0 then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
forget_runs(KEYS[5], KEYS[4], ARGV[3])
for i = 10, 9 + ARGV[1], 2 do
  redis.call('PUBLISH', KEYS[i + 1], redis.call('HGET', KEYS[i], 'status') or ARGV[2])
end
for i = 1, #KEYS do
  if i ~= 3 and i ~= 4 and (i < 6 or i > 8) then redis.call('UNLINK', KEYS[i]) end
end
redis.call('ZREM', KEYS[6], ARGV[3])
for i = 5, #ARGV do redis.call('ZREM', KEYS[8], ARGV[i]) end
redis.call('ZADD', KEYS[7], 0, ARGV[4])
redis.call('SREM', KEYS[3], ARGV[3])
redis.call('PUBLISH', KEYS[9], '')
return 1
