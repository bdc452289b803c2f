-- Forget in which runs' checkpoints the thread has a part: `kept` runs (a set) stay.
local function forget_runs(runs, ran, thread_id, kept)
  for _, run_id in ipairs(redis.call('SMEMBERS', runs)) do
    if not (kept and kept[run_id]) then
      redis.call('ZREM', ran, run_id .. '\0' .. thread_id)
      redis.call('SREM', runs, run_id)
    end
  end
end
