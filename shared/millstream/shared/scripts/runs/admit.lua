--[[
  Admit a run: write its record and its places in its thread and in the queue, or nothing.

  It takes what parts/admission.lua declares.

  Returns {'admitted', time of admission in µs, {run reference, …}}: the caller must end these displaced runs
          (end_displaced.lua).
          {'missing'}, {'rejudge'} (guard.lua), {'busy'}, {'changed'}, {'full'} or {'identity_full'} without a change.
  A repeat with the same run id changes nothing and returns 'admitted' again, without run references.
]]
-- with admission
