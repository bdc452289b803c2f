--[[
  Store on a thread the config of its run, so that a factory can make the graph again to read the thread.

  KEY  run      hash
  KEY  thread   hash
  ARG  fence    of the caller's lease
  ARG  running  status of a run that a worker holds
  ARG  config   JSON

  Returns 1, or 0 without a change if the caller lost the lease. The first call of a run saves the thread's earlier
  config, which the end of a run that is rolled back restores (parts/ending.lua).
]]
-- with lease
if not may_store(run, fence, running) then return 0 end
if redis.call('HEXISTS', thread, 'created_at') == 0 then return 1 end -- Redis has lost the thread
redis.call('HSETNX', run, 'config_before', redis.call('HGET', thread, 'config') or '')
redis.call('HSET', thread, 'config', config)
return 1
