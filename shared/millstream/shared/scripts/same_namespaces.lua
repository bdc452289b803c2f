-- Whether the set holds the namespaces ARGV[first], … and no others: the caller named their keys.
local function same_namespaces(set, first)
  if redis.call('SCARD', set) ~= #ARGV - first + 1 then return false end
  for i = first, #ARGV do
    if redis.call('SISMEMBER', set, ARGV[i]) == 0 then return false end
  end
  return true
end
