--[[
  Admit a run: the run, its place in its thread and in the queue, or nothing at all.

  KEYS[1]  thread   hash
  KEYS[2]  runs     sorted set
  KEYS[3]  waiting  list
  KEYS[4]  run      hash
  KEYS[5]  queue    sorted set
  KEYS[6]  wake     list
  KEYS[7]  live     set
  KEYS[8]  expiring sorted set
  KEYS[9]  deferred sorted set
  KEYS[10] turns    sorted set, and the name of the thread's doorbell
  KEYS[11] undone   set
  KEYS[12] garbage  sorted set
  KEYS[13] deliveries sorted set
  KEYS[14…] the index of threads (thread_index.lua)
  ARGV[1]  job id
  ARGV[2]  run id
  ARGV[3]  spec           msgpack of wire.RunSpec
  ARGV[4]  pending        the first status of a run
  ARGV[5]  when busy      'refuse', 'wait', 'interrupt' or 'rollback' (shared/multitask.py)
  ARGV[6]  delay          ms before the run is due
  ARGV[7]  missing        'refuse' or 'create': what if there is no such thread
  ARGV[8]  graph id       noted on the thread, with
  ARGV[9]  assistant id
  ARGV[10] ticket         what the thread holds of the run (keys.ticket)
  ARGV[11] protocol      the least that a worker has to understand
  ARGV[12] most          runs that may be alive at a time; 0: no limit
  ARGV[13] queue         its name
  ARGV[14] named         the sets of leaves of these two (leaves.named_by)
  ARGV[15] webhook       what is called when it has ended, '' for none
  ARGV[16] answers       the interrupts (JSON) on which the thread must still wait, '' if it need not
  ARGV[17] temporary     '1' when the thread goes with its last run, '' if it stays
  ARGV[18] cancelled     the status of a displaced run that nobody holds
  ARGV[19] running       the status of a run that somebody holds
  ARGV[20] busy          the status of a thread whose next run is released
  ARGV[21] events' TTL   s after the end of a displaced run
  ARGV[22] delivery's TTL  s
  ARGV[23] most          displaced runs that are ended here
  ARGV[24…] field, value, … of the thread to create

  Returns {'admitted', now in µs, {ticket, …}}: the tickets of the displaced runs that the caller is to end
          (end_displaced.lua); {'missing'}, {'busy'}, {'changed'} or {'full'}.
  A repeat with the same run id changes nothing and is 'admitted' again, without tickets.
]]
-- with release
-- with outbox
-- with turn
-- with expiry
-- with thread_index
-- with ticket
-- with note_cancel
-- with ending
-- with displacement
-- with admission
return admission(KEYS, ARGV)
