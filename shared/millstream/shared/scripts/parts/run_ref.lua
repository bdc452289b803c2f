--[[
  Parse a run reference (keys.run_ref). Returns nil for an invalid one.
]]
local function read_run_ref(run_ref)
  local job, queue, record, events, delivery = run_ref:match('^(%S+) (%S+) %S+ (%S+) (%S+) (%S+)$')
  return job and {job = job, queue = queue, record = record, events = events, delivery = delivery}
end

