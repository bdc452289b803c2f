--[[
  Return whether a thread has exactly the namespaces that the caller listed, so that the caller passed the keys of all.

  KEY  namespaces       set
  ARGS namespace_names  in the order of their keys
]]
local function same_namespaces()
  if redis.call('SCARD', namespaces) ~= #namespace_names then return false end
  for _, name in ipairs(namespace_names) do
    if redis.call('SISMEMBER', namespaces, name) == 0 then return false end
  end
  return true
end

