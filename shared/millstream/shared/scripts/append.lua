--[[
  Append events to the stream of a run, if its lease is still ours.

  KEYS[1]  run     hash
  KEYS[2]  events  stream, and the name of its doorbell
  ARGV[1]  fence
  ARGV[2]  running   the status of a run that somebody holds
  ARGV[3]  most      entries kept, about
  ARGV[4]  batch     fence and number, which rises: a batch that comes again, or late, changes nothing
  ARGV[5]  after     the index of the newest event that the caller knows of: a Redis that came back without
                     its latest events gives none of their ids again, or who has seen them missed the new
  ARGV[6…] event name, JSON data, event name, …

  Returns the index of the run's newest event (turn.lua), or nil when the caller has been fenced off and
  nothing was written.
]]
local run = redis.call('HMGET', KEYS[1], 'fence', 'status', 'batch', 'turn', 'index')
if run[1] ~= ARGV[1] or run[2] ~= ARGV[2] then return false end
local index = tonumber(run[5] or 0)
local fence, number = (run[3] or ''):match('^(%d+):(%d+)$')
if fence == ARGV[1] and tonumber(ARGV[4]:match('%d+$')) <= tonumber(number) then return index end
index = math.max(index, tonumber(ARGV[5]))
redis.call('HSET', KEYS[1], 'batch', ARGV[4], 'index', index + (#ARGV - 5) / 2)
for i = 6, #ARGV, 2 do
  index = index + 1
  local id = string.format('%s-%d', run[4], index)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], id, ARGV[i], ARGV[i + 1])
end
redis.call('PUBLISH', KEYS[2], '')
return index
