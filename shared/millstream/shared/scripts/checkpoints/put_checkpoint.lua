--[[
  Store a checkpoint with its new channel values, whole or not at all.

  KEY  run                    hash
  KEY  index                  sorted set
  KEY  records                hash
  KEY  references             hash
  KEY  values                 hash
  KEY  namespaces             set
  KEY  checkpoint_runs        set: runs that stored checkpoints in the thread
  KEY  runs_with_checkpoints  sorted set
  ARG  fence                  of the run that writes; '' for an update from outside of runs
  ARG  running                status of a run that a worker holds
  ARG  namespace
  ARG  checkpoint_id
  ARG  record                 the checkpoint and its metadata
  ARG  packed_refs            packed list (parts/packed_list.lua): the run's id, the parent's id, a packed list of the
                              prefixes of fields that build on ancestors, then the field of each value that the
                              checkpoint refers to
  ARG  run_id                 '' for none
  ARG  run_in_thread          the member of runs_with_checkpoints
  ARGS new_values             field, value, … of the new channel values

  Returns 1, or 0 without a change if the caller lost the lease.
]]
-- with lease
if not may_store(run, fence, running) then return 0 end
for i = 1, #new_values, 2 do redis.call('HSET', values, new_values[i], new_values[i + 1]) end
redis.call('HSET', records, checkpoint_id, record)
redis.call('HSET', references, checkpoint_id, packed_refs)
redis.call('ZADD', index, 0, checkpoint_id)
redis.call('SADD', namespaces, namespace)
if run_id ~= '' and redis.call('SADD', checkpoint_runs, run_id) == 1 then
  redis.call('ZADD', runs_with_checkpoints, 0, run_in_thread)
end
return 1
