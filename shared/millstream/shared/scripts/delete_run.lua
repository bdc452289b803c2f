--[[
  Delete an ended run: its record, its stream, its place in the thread's list. Who follows it, and has
  not read its end yet, is told its status by the doorbell.

  KEYS[1]  run     hash
  KEYS[2]  events  stream, and the name of its doorbell
  KEYS[3]  runs    sorted set
  KEYS[4]  turns   sorted set
  ARGV[1]  run id
  ARGV[2…] statuses in which a run has ended

  Returns 'deleted', 'missing', or the status of a run that has not ended.
]]
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 'missing' end
for i = 2, #ARGV do
  if status == ARGV[i] then
    redis.call('UNLINK', KEYS[1], KEYS[2])
    redis.call('PUBLISH', KEYS[2], status)
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('ZREM', KEYS[4], ARGV[1])
    return 'deleted'
  end
end
return status
