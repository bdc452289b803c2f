--[[
  Store what changes a thread's state from outside of runs, whole or not at all: its checkpoints, what
  was written behind them, and the record of the thread, which is created with them if it is to be new.

  Nothing is locked meanwhile. The caller read the state at an epoch of the thread; every claim of a run
  and every update begins another, so what it read still holds if the epoch does and no run is active.

  KEY  thread           hash
  KEY  namespaces       set
  KEY  events           stream of this update, as a run has one
  KEYS families         of each namespace: index, records, references, values, writes
  ARG  token            names this update: sent again after a lost reply, it has the same answer
  ARG  epoch            of the thread when its state was read; '' for a thread that is to be new
  ARG  deadline         ms, by the clock of Redis: after it nobody waits for the answer any more
  ARG  thread_id
  ARG  segment_id          the name of this update among the thread's segments
  ARG  update           JSON: what the thread's stream shows of it
  ARG  events_ttl       s
  ARGS thread_fields    field, value, … of the thread
  ARGS namespace_names  in the order of their keys
  ARGS stored           key, field, value, …: what is stored where; key is a number, that of one of `families`

  Returns 'stored', or with nothing changed: 'changed' (read the state again), 'busy' (a run is active),
  'late', 'missing' (there is no such thread) or 'exists' (it was to be new).
]]
-- with clock
-- with expiry
-- with thread_index
-- with sequence
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
  if active then return 'busy' end
  if (current_epoch or '0') ~= epoch then return 'changed' end
end

redis.call('HINCRBY', thread, 'epoch', 1)
redis.call('HSET', thread, 'updated_at', now_us, 'state_updated_at', now_us, 'token', token)
for i = 1, #thread_fields, 2 do redis.call('HSET', thread, thread_fields[i], thread_fields[i + 1]) end
for _, name in ipairs(namespace_names) do redis.call('SADD', namespaces, name) end
for i = 1, #stored, 3 do
  local number, field, value = tonumber(stored[i]), stored[i + 1], stored[i + 2]
  local key, kind = families[number], (number - 1) % 5 -- 1: a record, 4: writes behind a checkpoint
  if kind == 1 then redis.call('ZADD', families[number - 1], 0, field) end
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
