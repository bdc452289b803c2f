--[[
  Measure some checkpoints of a namespace, without their channel values. It changes nothing.

  KEYS[1]  records     hash
  KEYS[2]  references  hash
  KEYS[3]  writes      hash
  ARGV[1…] checkpoint ids

  Returns {checkpoints, their bytes, pending writes, their bytes}.
]]
-- with words
local checkpoints, bytes, writes, write_bytes = 0, 0, 0, 0
for _, id in ipairs(ARGV) do
  local size = redis.call('HSTRLEN', KEYS[1], id)
  if size > 0 then
    checkpoints = checkpoints + 1
    bytes = bytes + size + redis.call('HSTRLEN', KEYS[2], id)
  end
  local framed = redis.call('HGET', KEYS[3], id) or ''
  write_bytes = write_bytes + #framed
  local at, words = 1, 0
  while at <= #framed do
    at = at + 4 + size_at(framed, at)
    words = words + 1
  end
  writes = writes + words / 2 -- each behind its run's id
end
return {checkpoints, bytes, writes, write_bytes}
