--[[
  Copy all checkpoints and pending writes of a thread to another, beside those that it has.

  KEYS[1]  namespaces  set, of the source
  KEYS[2]  namespaces  set, of the target
  KEYS[3]  runs        set, of the source: those that stored something in it
  KEYS[4]  runs        set, of the target
  KEYS[5]  ran         sorted set
  KEYS[6]  run         hash
  KEYS[7…] index, records, references, values, writes of each namespace: a key of the source, then
           the target's
  ARGV[1]  fence       of the run that does it; '' when no run does
  ARGV[2]  running     the status of a run that somebody holds
  ARGV[3]  thread id   of the target
  ARGV[4…] the namespaces in the order of their keys

  Returns how many checkpoints the source has, -1 when the caller has been fenced off, -2 when the
  source has other namespaces than the caller named; then nothing was changed.
]]
-- with copy_family
-- with held
-- with same_namespaces
if not held(KEYS[6], ARGV[1], ARGV[2]) then return -1 end
if not same_namespaces(KEYS[1], 4) then return -2 end

local copied = copy_families(7)
for i = 4, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
copy_runs(KEYS[3], KEYS[4], KEYS[5], ARGV[3])
return copied
