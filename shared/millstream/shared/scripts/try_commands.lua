--[[
  Try commands, each on its own: what is refused is told and stops nothing.

  KEYS[1]  trial  string: made first, so that commands for other types change nothing, and gone at the end
  ARGV[1]  how long it lives all the same  ms
  ARGV[2]  the commands, each with its words  JSON

  Returns {command, error, …} of those that gave an error, for whatever reason; no command after 'SET' is
          tried if that gave one.
]]
local told = {}
local function try(words)
  local reply = redis.pcall(unpack(words))
  if type(reply) == 'table' and reply.err then
    told[#told + 1] = words[1]
    told[#told + 1] = reply.err
    return false
  end
  return true
end
if not try({'SET', KEYS[1], '', 'PX', ARGV[1]}) then return told end
for _, words in ipairs(cjson.decode(ARGV[2])) do try(words) end
try({'PEXPIRE', KEYS[1], ARGV[1]})
try({'UNLINK', KEYS[1]})
try({'DEL', KEYS[1]})
return told
