--[[
  Report that workers offer graphs in queues, and route each of these graphs to one queue:
    1. a queue that langgraph.json declares for the graph,
    2. else the preferred queue, if a worker offers the graph there,
    3. else another queue in which a worker offers it.
  Of several, the queue that has been offered without a break for the longest is chosen. So a worker that starts later,
  or restarts before its offer expires, takes no graph from another queue.

  KEY  offers        hash: `kind queue graph id` → `since until` (µs)
  KEY  routes        hash: graph id → name of a queue
  KEY  queues        set: gets the declared queues, which exist although no worker may serve them yet
  ARG  preferred     name of a queue
  ARG  declared_ttl  µs, of an offer of the kind 'declared'
  ARG  served_ttl    µs, of an offer of the kind 'served'
  ARGS served        names of the queues that the worker serves
  ARGS graphs        graph id, the queue that langgraph.json declares for it or '', …

  Returns the name of the queue of each graph, in their order.
]]
-- with clock
local now_us = tonumber((read_clock()))
local live, ends = {}, {} -- field → since, until

local stored = redis.call('HGETALL', offers)
for i = 1, #stored, 2 do
  local since, till = stored[i + 1]:match('^(%d+) (%d+)$')
  if since and tonumber(till) > now_us then
    live[stored[i]], ends[stored[i]] = tonumber(since), tonumber(till)
  else
    redis.call('HDEL', offers, stored[i])
  end
end

local function offer(kind, queue, graph, ttl)
  local field = kind .. ' ' .. queue .. ' ' .. graph
  live[field] = live[field] or now_us
  -- All workers of a fleet repeat their offers often, and few of these repeats need a write.
  if (ends[field] or 0) - now_us > ttl / 2 then return end
  redis.call('HSET', offers, field, string.format('%.0f %.0f', live[field], now_us + ttl))
end
for i = 1, #graphs, 2 do
  if graphs[i + 1] ~= '' then
    redis.call('SADD', queues, graphs[i + 1])
    offer('declared', graphs[i + 1], graphs[i], tonumber(declared_ttl))
  end
  for _, name in ipairs(served) do offer('served', name, graphs[i], tonumber(served_ttl)) end
end

-- Graph id → {rank, since, queue} of its best offer.
local best = {}
for field, since in pairs(live) do
  local kind, queue, graph = field:match('^(%S+) (%S+) (.*)$')
  if kind then
    local rank = kind == 'declared' and 1 or queue == preferred and 2 or 3
    local other = best[graph]
    if not other or rank < other[1] or rank == other[1]
      and (since < other[2] or since == other[2] and queue < other[3]) then
      best[graph] = {rank, since, queue}
    end
  end
end
local chosen = {}
for i = 1, #graphs, 2 do
  chosen[#chosen + 1] = best[graphs[i]][3]
  if redis.call('HGET', routes, graphs[i]) ~= chosen[#chosen] then
    redis.call('HSET', routes, graphs[i], chosen[#chosen])
  end
end
return chosen
