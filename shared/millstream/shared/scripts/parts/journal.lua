--[[
  The journal of a run: a text on its record with a line for each step of its attempts, which shared/runs/journal.py
  reads. A line is `what MS …`, with the time of Redis. It costs no command: a script that changes the record reads the
  field with the others and writes it with the others.

  claimed MS ATTEMPT FENCE WAITED WORKER  a worker has claimed the run, WAITED ms after it was due
  lapsed MS                               the lease ended at MS without a renewal
  lapsed_alone MS                         the same, and the worker executed no other run
  handed_back MS REASON
  crashed MS TEXT                         the process that executed it alone has ended; TEXT says how
  ended MS CAUSE                          the run has ended (Cause of shared/rules/lifecycle.py)
  unserved MS                             for the first time a worker could not execute it
  repaired MS                             it had lost its place in the queue or in its thread
]]
local MAX_JOURNAL = 4096 -- bytes; beyond it the oldest lines are dropped, and the first line says so

local function with_line(journal, line)
  if not journal then return line end
  journal = journal .. '\n' .. line
  if #journal <= MAX_JOURNAL then return journal end
  return 'dropped\n' .. journal:sub(journal:find('\n', #journal - MAX_JOURNAL + 9, true) + 1)
end
