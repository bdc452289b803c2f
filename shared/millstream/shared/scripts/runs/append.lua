--[[
  Append events to the stream of a run, if the caller's lease still holds.

  KEY  run         hash
  KEY  events      stream, and the name of its doorbell
  ARG  fence
  ARG  running     the status of a run that a worker holds
  ARG  max_events  entries kept, about
  ARG  batch       fence and number, which rises: a batch that comes again, or late, changes nothing
  ARG  after       the index of the newest event that the caller knows of: a Redis that came back without its latest
                   events gives none of their ids again, or a client that has seen them would miss the new
  ARGS words       event name, JSON data, event name, …

  Returns the index of the run's newest event (sequence.lua), or nil when the caller has been fenced off and
  nothing was written.
]]
local current, status, last_batch, seq, index =
  unpack(redis.call('HMGET', run, 'fence', 'status', 'batch', 'seq', 'index'))
if current ~= fence or status ~= running then return false end
index = tonumber(index or 0)
local batch_fence, number = (last_batch or ''):match('^(%d+):(%d+)$')
if batch_fence == fence and tonumber(batch:match('%d+$')) <= tonumber(number) then return index end
index = math.max(index, tonumber(after))
redis.call('HSET', run, 'batch', batch, 'index', index + #words / 2)
for i = 1, #words, 2 do
  index = index + 1
  redis.call('XADD', events, 'MAXLEN', '~', max_events, string.format('%s-%d', seq, index), words[i], words[i + 1])
end
redis.call('PUBLISH', events, '')
return index
