--[[
  Note on a thread what its run is configured with, so that its graph can be made again to read the thread.

  KEY  run      hash
  KEY  run      hash
  KEY  thread   hash
  ARG  fence    the caller's lease
  ARG  running  the status of a run that a worker holds
  ARG  config   JSON

  Returns 1, or 0 when the caller has been fenced off and nothing was written.
  The first note of a run keeps what the thread had before: the end of a run that was rolled back puts it
  back (ending.lua).
]]
-- with lease
if not may_store(run, fence, running) then return 0 end
if redis.call('HEXISTS', thread, 'created_at') == 0 then return 1 end -- it was lost: nobody reads it
redis.call('HSETNX', run, 'config_before', redis.call('HGET', thread, 'config') or '')
redis.call('HSET', thread, 'config', config)
return 1
