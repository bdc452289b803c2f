--[[
  Read what a thread holds of a run (keys.ticket). Returns nil for what is no ticket.
]]
local function read_ticket(ticket)
  local job, queue, record, events, delivery = ticket:match('^(%S+) (%S+) %S+ (%S+) (%S+) (%S+)$')
  return job and {job = job, queue = queue, record = record, events = events, delivery = delivery}
end

