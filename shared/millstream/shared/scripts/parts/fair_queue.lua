--[[
  The order of a queue's due runs: start-time fair queueing over the identities of their clients.

  A score of 0 or more in the queue is a time (ms): when a run is due, is tried again, or its lease ends. A score below 0
  is the start tag of a due run that no worker holds. The run with the lowest tag is claimed first. A run gets its tag
  when it becomes due:
    - behind the newest run of its identity, by the cost of a run (0.01 divided by the weight of the identity),
    - or at the clock, if the identity has used its share later than others. The clock is the tag of the newest claimed
      run.
  So the due runs of an identity wait for the runs of other identities in the ratio of the weights, however many runs
  the others have. The runs of one identity keep their order. A run that had a tag before is not charged again: its new
  tag is the clock, before all runs that were not claimed yet.

  The field `share` of a run's record has what this part needs: `KEY DIGEST COST`, the key of the queue's shares, the
  digest of the identity ('' for none) and the cost of a run. A record of an earlier version has no such field. Its run
  is due by its time until a search or a claim gives it a tag.

  The shares are a sorted set: digest → tag of the identity's next run, and `clock`. A claim removes the identities whose
  next tag is below the clock, because a new identity gets the same tag. The set expires when no run became due for
  SHARES_TTL, so that the queues which clients name leave nothing.
]]
local FIRST_TAG = -1e10 -- of a queue; doubles of this size tell tags apart that differ by STEP
local SHARES_TTL = 86400 -- s
local STEP = 1e-5 -- between new identities, so that they keep their order; 1000 of them cost as much as one run

-- Writes the run's score in the queue.
--   is_charged  it had a tag before
--   is_idle     the identity has no other run: cancelled runs that it was charged for do not count
local function enqueue(queue, job, share, now_ms, is_charged, is_idle)
  local shares, digest, cost = (share or ''):match('^(%S+) (%S*) (%S+)$')
  if not shares then
    redis.call('ZADD', queue, now_ms, job)
    return
  end
  cost = tonumber(cost)
  local clock, next_tag = unpack(redis.call('ZMSCORE', shares, 'clock', digest))
  if not clock then -- new, expired or lost: no run gets ahead of a run that waits
    clock = redis.call('ZREVRANGEBYSCORE', queue, '(0', '-inf', 'WITHSCORES', 'LIMIT', 0, 1)[2] or FIRST_TAG
  end
  clock, next_tag = tonumber(clock), tonumber(next_tag or clock)
  if is_idle then next_tag = math.min(next_tag, clock + cost) end
  local tag = clock
  if not is_charged then
    if next_tag > clock then
      tag = next_tag
    else
      clock = clock + STEP
      tag = clock
    end
    redis.call('ZADD', shares, clock, 'clock', tag + cost, digest)
    redis.call('EXPIRE', shares, SHARES_TTL)
  end
  redis.call('ZADD', queue, tag, job)
end

-- Advances the clock of the queue to the tag of a run that is claimed now.
local function advance(share, tag)
  local shares = share:match('^%S+')
  redis.call('ZADD', shares, 'XX', 'GT', tag, 'clock')
  redis.call('ZREMRANGEBYSCORE', shares, '-inf', '(' .. tag)
end

