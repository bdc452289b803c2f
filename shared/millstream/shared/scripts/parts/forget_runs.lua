--[[
  Forget which runs stored checkpoints in a thread, but for `kept`: a table run id → true, or nil.

  KEY  checkpoint_runs  set
  KEY  runs_with_checkpoints              sorted set
  ARG  thread_id
]]
local function forget_runs(kept)
  for _, run_id in ipairs(redis.call('SMEMBERS', checkpoint_runs)) do
    if not (kept and kept[run_id]) then
      redis.call('ZREM', runs_with_checkpoints, run_id .. '\0' .. thread_id)
      redis.call('SREM', checkpoint_runs, run_id)
    end
  end
end

