--[[
  Try commands, each on its own: a refusal is returned and stops nothing.

  KEY  trial     string: made first, so that commands for other types change nothing, and gone at the end
  ARG  ttl       ms
  ARG  commands  JSON

  Returns {command, error, …} of those that gave an error, for whatever reason; no command after 'SET' is
          tried if that gave one.
]]
local refused = {}
local function try(words)
  local reply = redis.pcall(unpack(words))
  if type(reply) == 'table' and reply.err then
    refused[#refused + 1] = words[1]
    refused[#refused + 1] = reply.err
    return false
  end
  return true
end
if not try({'SET', trial, '', 'PX', ttl}) then return refused end
for _, words in ipairs(cjson.decode(commands)) do try(words) end
try({'PEXPIRE', trial, ttl})
try({'UNLINK', trial})
try({'DEL', trial})
return refused
