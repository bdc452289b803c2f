--[[
  Delete a retired thread with all that belongs to it, once no run of it is left alive.

  KEYS[1]  thread   hash
  KEYS[2]  waiting  list
  KEYS[3…] everything else of the thread

  Returns 1, or 0 when a run is still alive (or the thread is not retired) and nothing changed.
]]
if redis.call('HEXISTS', KEYS[1], 'active') == 1 then return 0 end
if redis.call('HEXISTS', KEYS[1], 'retired') == 0 then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
for i = 1, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 1
