--[[
  Compare a thread's metadata with the metadata by which a caller's rights were judged (api/auth/permits.py).

  KEY  thread  hash
  ARG  guard   '' for a caller with all rights; 'absent' if the thread did not exist; else the SHA-1 of its metadata
]]
local function guard_holds()
  if guard == '' then return true end
  if redis.call('EXISTS', thread) == 0 then return guard == 'absent' end
  return redis.sha1hex(redis.call('HGET', thread, 'metadata') or '{}') == guard
end
