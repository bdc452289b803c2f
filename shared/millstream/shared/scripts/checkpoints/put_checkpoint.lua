--[[
  Store one checkpoint with the channel values that are new in it, whole or not at all.

  KEY  run              hash
  KEY  index            sorted set
  KEY  records          hash
  KEY  references       hash
  KEY  values           hash
  KEY  namespaces       set
  KEY  checkpoint_runs  set, of those that stored something in the thread
  KEY  runs_with_checkpoints              sorted set
  ARG  fence            '' when no run writes (an update of the state from outside)
  ARG  running          the status of a run that a worker holds
  ARG  namespace
  ARG  checkpoint_id
  ARG  record           the checkpoint and its metadata
  ARG  framed           what it refers to, framed (wire.py): the run's id, the parent's id, the prefixes of fields
                        that build on ancestors (framed), then the field of each value it refers to
  ARG  run_id           '' for none
  ARG  run_in_thread       the member of runs_with_checkpoints
  ARGS new_values       field, value, … of the new channel values

  Returns 1, or 0 when the caller has been fenced off and nothing was written.
]]
-- with lease
if not may_store(run, fence, running) then return 0 end
for i = 1, #new_values, 2 do redis.call('HSET', values, new_values[i], new_values[i + 1]) end
redis.call('HSET', records, checkpoint_id, record)
redis.call('HSET', references, checkpoint_id, framed)
redis.call('ZADD', index, 0, checkpoint_id)
redis.call('SADD', namespaces, namespace)
if run_id ~= '' and redis.call('SADD', checkpoint_runs, run_id) == 1 then redis.call('ZADD', runs_with_checkpoints, 0, run_in_thread) end
return 1
