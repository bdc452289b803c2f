--[[
  Append events to the stream of a run, if the caller still holds the lease.

  KEY  run         hash
  KEY  events      stream; also the name of its notification channel
  ARG  fence
  ARG  running     status of a run that a worker holds
  ARG  max_events  number of entries to keep, approximately
  ARG  batch       `fence:number`; the number rises with each batch, so that a repeated or late batch changes nothing
  ARG  after       index of the newest event that the caller knows. A Redis that lost its latest events in a crash must
                   not use their ids again: a client that has received them would skip the new events.
  ARGS items       event name, JSON data, event name, …

  Returns the index of the run's newest event (parts/sequence.lua), or nil if the caller lost the lease and nothing was
  written.
]]
local current, status, last_batch, seq, index =
  unpack(redis.call('HMGET', run, 'fence', 'status', 'batch', 'seq', 'index'))
if current ~= fence or status ~= running then return false end
index = tonumber(index or 0)
local batch_fence, number = (last_batch or ''):match('^(%d+):(%d+)$')
if batch_fence == fence and tonumber(batch:match('%d+$')) <= tonumber(number) then return index end
index = math.max(index, tonumber(after))
redis.call('HSET', run, 'batch', batch, 'index', index + #items / 2)
for i = 1, #items, 2 do
  index = index + 1
  redis.call('XADD', events, 'MAXLEN', '~', max_events, string.format('%s-%d', seq, index), items[i], items[i + 1])
end
redis.call('PUBLISH', events, '')
return index
