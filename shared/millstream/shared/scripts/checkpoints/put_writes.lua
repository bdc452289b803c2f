--[[
  Append the pending writes of a task: what it wrote after a checkpoint and before the next one.

  KEY  run                    hash
  KEY  writes                 hash
  KEY  namespaces             set
  KEY  checkpoint_runs        set: runs that stored checkpoints in the thread
  KEY  runs_with_checkpoints  sorted set
  ARG  fence                  of the run that writes; '' outside of runs
  ARG  running                status of a run that a worker holds
  ARG  namespace
  ARG  checkpoint_id
  ARG  entries                packed list (parts/packed_list.lua): a run's id, a write, a run's id, a write, … If two
                              writes have the same task and index, the reader chooses; so drop_checkpoints.lua can
                              remove a run's writes.
  ARG  run_id                 '' for none
  ARG  run_in_thread          the member of runs_with_checkpoints

  Returns 1, or 0 without a change if the caller lost the lease.
]]
-- with lease
if not may_store(run, fence, running) then return 0 end
redis.call('HSET', writes, checkpoint_id, (redis.call('HGET', writes, checkpoint_id) or '') .. entries)
redis.call('SADD', namespaces, namespace)
if run_id ~= '' and redis.call('SADD', checkpoint_runs, run_id) == 1 then
  redis.call('ZADD', runs_with_checkpoints, 0, run_in_thread)
end
return 1
