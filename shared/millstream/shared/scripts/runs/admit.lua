--[[
  Admit a run: the run, its place in its thread and in the queue, or nothing at all.

  Takes what parts/admission.lua declares.

  Returns {'admitted', now in µs, {run_ref, …}}: the run_refs of the displaced runs that the caller is to end
          (end_displaced.lua); {'missing'}, {'busy'}, {'changed'} or {'full'}.
  A repeat with the same run id changes nothing and is 'admitted' again, without run_refs.
]]
-- with admission
