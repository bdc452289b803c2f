--[[
  Copy all checkpoints and pending writes of a thread to another thread (parts/copy_namespaces.lua).

  KEY  run      hash
  ARG  fence    of the run that copies; '' outside of runs
  ARG  running  status of a run that a worker holds

  Returns the number of checkpoints in the source. Without a change: -1 if the caller lost the lease, -2 if the source
  has other namespaces than the caller listed.
]]
-- with copy_namespaces
-- with lease
-- with same_namespaces
if not may_store(run, fence, running) then return -1 end
if not same_namespaces() then return -2 end
return copy_namespaces()
