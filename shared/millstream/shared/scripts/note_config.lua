--[[
  Note on a thread what its run is configured with, so that its graph can be made again to read the thread.

  KEYS[1]  run      hash
  KEYS[2]  thread   hash
  ARGV[1]  fence    the caller's lease
  ARGV[2]  running  the status of a run that somebody holds
  ARGV[3]  config   JSON

  Returns 1, or 0 when the caller has been fenced off and nothing was written.
  The first note of a run keeps what the thread had before: the end of a run that was rolled back puts it
  back (ending.lua).
]]
-- with held
if not held(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
if redis.call('HEXISTS', KEYS[2], 'created_at') == 0 then return 1 end -- it was lost: nobody reads it
redis.call('HSETNX', KEYS[1], 'config_before', redis.call('HGET', KEYS[2], 'config') or '')
redis.call('HSET', KEYS[2], 'config', ARGV[3])
return 1
