--[[
  Add what a task wrote before the next checkpoint.

  KEY  run              hash
  KEY  writes           hash
  KEY  namespaces       set
  KEY  checkpoint_runs  set, of those that stored something in the thread
  KEY  runs_with_checkpoints              sorted set
  ARG  fence            '' when no run writes
  ARG  running          the status of a run that a worker holds
  ARG  namespace
  ARG  checkpoint_id
  ARG  entries          framed (wire.py): a run's id, a write, a run's id, a write, … Of two for one place the reader
                        decides, so that those of a run can be taken out again
  ARG  run_id           '' for none
  ARG  run_in_thread       the member of runs_with_checkpoints

  Returns 1, or 0 when the caller has been fenced off and nothing was written.
]]
-- with lease
if not may_store(run, fence, running) then return 0 end
redis.call('HSET', writes, checkpoint_id, (redis.call('HGET', writes, checkpoint_id) or '') .. entries)
redis.call('SADD', namespaces, namespace)
if run_id ~= '' and redis.call('SADD', checkpoint_runs, run_id) == 1 then redis.call('ZADD', runs_with_checkpoints, 0, run_in_thread) end
return 1
