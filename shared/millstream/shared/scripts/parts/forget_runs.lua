--[[
  Remove from a thread the list of runs that stored checkpoints in it, except the runs in `excluded` (run id → true; nil
  for none).

  KEY  checkpoint_runs        set
  KEY  runs_with_checkpoints  sorted set
  ARG  thread_id
]]
local function forget_runs(excluded)
  for _, run_id in ipairs(redis.call('SMEMBERS', checkpoint_runs)) do
    if not (excluded and excluded[run_id]) then
      redis.call('ZREM', runs_with_checkpoints, run_id .. '\0' .. thread_id)
      redis.call('SREM', checkpoint_runs, run_id)
    end
  end
end

