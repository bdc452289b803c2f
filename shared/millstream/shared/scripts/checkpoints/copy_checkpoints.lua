--[[
  Copy all checkpoints and pending writes of a thread to another, beside those that it has: parts/copy_family.lua.

  KEY  run      hash
  ARG  fence    of the run that does it; '' when no run does
  ARG  running  the status of a run that a worker holds

  Returns how many checkpoints the source has, -1 when the caller has been fenced off, -2 when the
  source has other namespaces than the caller named; then nothing was changed.
]]
-- with copy_family
-- with lease
-- with same_namespaces
if not may_store(run, fence, running) then return -1 end
if not same_namespaces() then return -2 end
return copy_families()
