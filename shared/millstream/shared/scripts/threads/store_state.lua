--[[
  Store an update of a thread's state from outside of runs, whole or not at all: checkpoints, pending writes and the
  thread's record, which this script can create.

  No lock is held meanwhile. The caller read the state at an epoch of the thread. Every claim of a run, every update and
  every pruning raises the epoch. So the state is still the one that the caller read if the epoch is unchanged and no
  run is active.

  KEY  thread           hash
  KEY  namespaces       set
  KEY  events           stream of this update
  KEYS namespace_keys   index, records, references, values and writes of each namespace
  ARG  token            identifies this update: a repeat after a lost reply gets the same reply
  ARG  epoch            of the thread when the caller read its state; '' to create the thread
  ARG  deadline         ms, by the clock of Redis: the client does not wait for the response any longer
  ARG  thread_id
  ARG  segment_id       name of this update among the thread's segments
  ARG  update           JSON of the `state_update` event in the thread's stream
  ARG  events_ttl       s
  ARGS thread_fields    field, value, … of the thread
  ARGS namespace_names  in the order of their keys
  ARGS stored           key, field, value, …: `key` is an index in `namespace_keys`

  Returns 'stored', or without a change 'changed' (read the state again), 'busy' (a run is active), 'late', 'missing'
  (the thread does not exist), 'rejudge' (parts/guard.lua) or 'exists' (the thread to create exists).
]]
-- with clock
-- with expiry
-- with thread_index
-- with sequence
-- with guard
local now_us, now_ms = read_clock()

local created_at, last_token, active, current_epoch, retired =
  unpack(redis.call('HMGET', thread, 'created_at', 'token', 'active', 'epoch', 'retired'))
if created_at and last_token == token then return 'stored' end
if now_ms > tonumber(deadline) then return 'late' end
if epoch == '' then
  if created_at then return 'exists' end
  redis.call('HSET', thread, 'created_at', now_us)
else
  if not created_at or retired then return 'missing' end
  if not guard_holds() then return 'rejudge' end
  if active then return 'busy' end
  if (current_epoch or '0') ~= epoch then return 'changed' end
end

redis.call('HINCRBY', thread, 'epoch', 1)
redis.call('HSET', thread, 'updated_at', now_us, 'state_updated_at', now_us, 'token', token)
for i = 1, #thread_fields, 2 do redis.call('HSET', thread, thread_fields[i], thread_fields[i + 1]) end
for _, name in ipairs(namespace_names) do redis.call('SADD', namespaces, name) end
for i = 1, #stored, 3 do
  local number, field, value = tonumber(stored[i]), stored[i + 1], stored[i + 2]
  local key, kind = namespace_keys[number], (number - 1) % 5 -- 1: records, 4: writes, which are appended
  if kind == 1 then redis.call('ZADD', namespace_keys[number - 1], 0, field) end
  if kind == 4 then value = (redis.call('HGET', key, field) or '') .. value end
  redis.call('HSET', key, field, value)
end
local seq = string.format('%d', next_seq(segment_id))
redis.call('XADD', events, seq .. '-1', 'state_update', update, 'first', 1, 'at', now_ms)
redis.call('XADD', events, seq .. '-2', 'end', '{}')
redis.call('EXPIRE', events, events_ttl)
push_expiry(thread_id, now_ms)
index_thread(thread_id)
return 'stored'
