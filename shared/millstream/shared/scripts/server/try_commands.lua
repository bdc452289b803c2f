--[[
  Try commands. An error of one does not keep the others from being tried.

  KEY  trial     string: created first, so that commands for other types change nothing, and deleted at the end
  ARG  ttl       ms
  ARG  commands  JSON: a list of lists, each a command with its arguments

  Returns {command, error, …} for the commands that returned an error. If 'SET' fails, no other command is tried.
]]
local failed = {}
local function try(command)
  local reply = redis.pcall(unpack(command))
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = command[1]
    failed[#failed + 1] = reply.err
    return false
  end
  return true
end
if not try({'SET', trial, '', 'PX', ttl}) then return failed end
for _, command in ipairs(cjson.decode(commands)) do try(command) end
try({'PEXPIRE', trial, ttl})
try({'UNLINK', trial})
try({'DEL', trial})
return failed
