"""Every Redis key and channel, with its type, how long it exists, and its content.

The keys of a thread have its id as hash tag. Scripts build no keys: they receive them as KEYS, or read them from a run
reference (`run_ref`) that an earlier script stored.

How long a key exists: *until deleted* means until a script deletes the thread, the run or the assistant that it
belongs to. *Permanent* keys belong to none of these and stay; key_lists.py lists them. *TTL* keys expire.
"""

from typing import Final

from millstream.shared.rules.fair_shares import COST
from millstream.shared.rules.lifecycle import ThreadStatus

PREFIX: Final = "ms"
STORE: Final = "store"  # the call queue for the long-term store


def thread(thread_id: str) -> str:
    """hash, until deleted: status, idle_status, active (a `run_ref()`), times (µs), JSON of values, …"""
    return f"{PREFIX}:{{{thread_id}}}:thread"


def runs(thread_id: str) -> str:
    """sorted set, until deleted: run id → time of admission (µs)."""
    return f"{PREFIX}:{{{thread_id}}}:runs"


def waiting(thread_id: str) -> str:
    """list, until empty: the thread's FIFO, with a `run_ref()` for each run that waits for the active one."""
    return f"{PREFIX}:{{{thread_id}}}:waiting"


def deferred(thread_id: str) -> str:
    """sorted set, until empty: `run_ref()` of each run that is due later → due time (ms)."""
    return f"{PREFIX}:{{{thread_id}}}:deferred"


def segments(thread_id: str) -> str:
    """sorted set, until deleted: run id or name of an update → its seq. Also a notification channel."""
    return f"{PREFIX}:{{{thread_id}}}:segments"


def rolled_back(thread_id: str) -> str:
    """set, stream TTL: ids of the runs that were rolled back and whose events are still readable."""
    return f"{PREFIX}:{{{thread_id}}}:rolled_back"


def run(thread_id: str, run_id: str) -> str:
    """hash, until deleted (for a temporary thread: stream TTL): spec, status, fence, attempt, …"""
    return f"{PREFIX}:{{{thread_id}}}:run:{run_id}"


def events(thread_id: str, run_id: str) -> str:
    """stream, TTL from the first entry on: one entry for each event. Also the run's notification channel."""
    return f"{PREFIX}:{{{thread_id}}}:run:{run_id}:events"


def checkpoint_namespaces(thread_id: str) -> str:
    """set, until deleted: the thread's checkpoint namespaces; '' is the root graph's."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints"


def checkpoint_index(thread_id: str, namespace: str) -> str:
    """sorted set, until deleted: checkpoint ids, all with score 0, so sorted by id."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:index:{namespace}"


def checkpoint_records(thread_id: str, namespace: str) -> str:
    """hash, until deleted: checkpoint id → the checkpoint without its values (msgpack)."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:records:{namespace}"


def checkpoint_references(thread_id: str, namespace: str) -> str:
    """hash, until deleted: checkpoint id → packed list of its run, its parent and the fields of its values."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:references:{namespace}"


def checkpoint_values(thread_id: str, namespace: str) -> str:
    """hash, until deleted: channel, NUL, version → the value, stored once (msgpack)."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:values:{namespace}"


def checkpoint_writes(thread_id: str, namespace: str) -> str:
    """hash, until deleted: checkpoint id → packed list of the pending writes that follow it."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:writes:{namespace}"


def checkpoint_runs(thread_id: str) -> str:
    """set, until deleted: ids of the runs that stored checkpoints or writes in the thread."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:runs"


def runs_with_checkpoints() -> str:
    """sorted set, permanent: run id, NUL, id of a thread in which the run stored checkpoints (score 0).

    The script that deletes the thread, or what the run stored in it, removes the member too.
    """
    return f"{PREFIX}:runs_with_checkpoints"


def run_in_thread(run_id: str, thread_id: str) -> str:
    """Returns the member of `runs_with_checkpoints()` for a run and a thread."""
    return f"{run_id}\0{thread_id}"


def queue(name: str) -> str:
    """sorted set, permanent: arq's queue. Job id → its tag (below 0, parts/fair_queue.lua) if it is due, or
    when it is due (ms): later, or at its lease's end."""
    return f"{PREFIX}:queue:{name}"


def wake(name: str) -> str:
    """list, permanent: ids of jobs that became due; idle workers block on it."""
    return f"{PREFIX}:queue:{name}:wake"


def backlog(name: str) -> str:
    """sorted set, permanent: job id of each run of a queue that no worker holds → when it is due (ms).

    The score in the queue itself is a tag, and rises with each claim of a worker that can't execute the run. Here
    such a run keeps the time, as a negative number. A run whose lease has lapsed is not here.
    """
    return f"{PREFIX}:queue:{name}:backlog"


def shares(name: str) -> str:
    """sorted set, TTL: digest of an identity → tag of its next run in the queue; `clock` → tag of the newest
    claimed run (parts/fair_queue.lua). It has the identities with due runs, and those that were served last.
    """
    return f"{PREFIX}:queue:{name}:shares"


def queue_workers(name: str) -> str:
    """sorted set, permanent: ids of the workers of a queue → when each counts as lost (s)."""
    return f"{PREFIX}:queue:{name}:workers"


def worker(worker_id: str) -> str:
    """string, TTL: `wire.WorkerRecord`, for as long as the worker is live, draining or lost."""
    return f"{PREFIX}:worker:{worker_id}:record"


def paused(name: str) -> str:
    """hash, permanent: why a queue gives no run to a worker: at (µs), by, reason. A queue in use has none."""
    return f"{PREFIX}:queue:{name}:paused"


def queues() -> str:
    """set, permanent: names of the queues that workers have served or langgraph.json has declared, or that runs were
    admitted to."""
    return f"{PREFIX}:queues"


def health(name: str) -> str:
    """string, TTL: arq's health check of a worker, under the first of its queues."""
    return f"{PREFIX}:queue:{name}:health"


def call_queue(graph_id: str) -> str:
    """Returns the name of the queue for calls about a graph."""
    return f"graph:{graph_id}"


def calls(call_queue_name: str) -> str:
    """list, permanent: the waiting calls of a queue (`wire.Call`)."""
    return f"{PREFIX}:calls:{call_queue_name}:calls"


def reply(call_id: str) -> str:
    """list, TTL: the reply to a call (`wire.Reply`)."""
    return f"{PREFIX}:reply:{call_id}"


def call_user(call_id: str) -> str:
    """string, TTL: JSON of the user that a call without a reply is executed for (`access.User`)."""
    return f"{PREFIX}:call_user:{call_id}"


def workers(call_queue_name: str) -> str:
    """sorted set, permanent: ids of the workers of a call queue → when each counts as dead (s)."""
    return f"{PREFIX}:calls:{call_queue_name}:workers"


def item(name: str) -> str:
    """JSON, until deleted or until its own TTL: an item of the store."""
    return f"{PREFIX}:item:{name}"


def items_index() -> str:
    """search index: all items by namespace and time of update."""
    return f"{PREFIX}:items"


def vectors_index(dims: int) -> str:
    """search index: the items that have embeddings of `dims` numbers."""
    return f"{PREFIX}:items:vectors:{dims}"


def graphs() -> str:
    """hash, permanent: graph id → `wire.GraphInfo`, announced by the workers that serve the graph."""
    return f"{PREFIX}:graphs"


def offers() -> str:
    """hash, permanent: kind, queue and graph id → since and until when (µs) workers offer the graph in the queue.

    The kind is 'declared' (by langgraph.json) or 'served'. Expired fields are deleted.
    """
    return f"{PREFIX}:offers"


def routes() -> str:
    """hash, permanent: graph id → name of the queue that its runs are admitted to."""
    return f"{PREFIX}:routes"


def project() -> str:
    """string, permanent: `wire.Project`, announced by the workers with their graphs."""
    return f"{PREFIX}:project"


def live() -> str:
    """set, permanent: job ids of the runs that have not ended."""
    return f"{PREFIX}:live"


def identities() -> str:
    """sorted set, permanent: digest of an identity, slash, job id, of each run of an identity that has not ended (score
    0)."""
    return f"{PREFIX}:identities"


def retired() -> str:
    """set, permanent: ids of the threads whose deletion has begun."""
    return f"{PREFIX}:retired"


def leader_lock(service: str) -> str:
    """string, TTL: held by the process that does a maintenance service in this interval."""
    return f"{PREFIX}:leader:{service}"


def garbage() -> str:
    """sorted set, permanent: job ids of deleted threads whose checkpoints a worker must delete (score: ms, or 0)."""
    return f"{PREFIX}:garbage"


def expiring() -> str:
    """sorted set, permanent: ids of the threads that have a `ttl` → when they expire (ms)."""
    return f"{PREFIX}:expiring"


def threads_by(field: str) -> str:
    """sorted set, permanent: ids of the indexed threads → a time on their records (µs), or 0.

    The fields are thread_id (all with score 0, so sorted by id), created_at, updated_at and
    state_updated_at.
    """
    return f"{PREFIX}:threads:{field}"


def threads_of(status: str) -> str:
    """set, permanent: ids of the indexed threads that have the status."""
    return f"{PREFIX}:threads:status:{status}"


def term(digest: str) -> str:
    """set, until its last thread is removed: ids of the indexed threads whose metadata has the term."""
    return f"{PREFIX}:term:{digest}"


def unindexed() -> str:
    """set, permanent: ids of the indexed threads whose metadata is too large for sets of terms."""
    return f"{PREFIX}:threads:unindexed"


def threads_index() -> list[str]:
    """Returns the keys of the index of threads (scripts/parts/thread_index.lua)."""
    orders = ("thread_id", "created_at", "updated_at", "state_updated_at")
    return [*map(threads_by, orders), *map(threads_of, ThreadStatus)]


def assistant(assistant_id: str) -> str:
    """hash, until deleted: head (`wire.Assistant`), version, newest, revision, times (µs), and for each
    version N the fields `v:N` (`wire.Assistant`) and `t:N` (µs)."""
    return f"{PREFIX}:assistant:{assistant_id}"


def assistants() -> str:
    """sorted set, permanent: id of each assistant that has a record → time of creation (µs)."""
    return f"{PREFIX}:assistants"


def api_key(key_id: str) -> str:
    """hash, until 30 days after the key's end: digest, name, identity, scopes, times (µs), rotated_to."""
    return f"{PREFIX}:api_key:{key_id}"


def api_keys() -> str:
    """sorted set, permanent: id of each API key that has a record, or had one → time of creation (µs)."""
    return f"{PREFIX}:api_keys"


def api_keys_version() -> str:
    """string, permanent: a number that rises with each change of an API key, so that APIs read the keys again."""
    return f"{PREFIX}:api_keys:version"


def cron(cron_id: str) -> str:
    """hash, until deleted: cron (`wire.Cron`), payload, request, version, times (µs)."""
    return f"{PREFIX}:cron:{cron_id}"


def crons() -> str:
    """sorted set, permanent: id of each cron → when it is due (ms), +inf for never."""
    return f"{PREFIX}:crons"


def crons_of(thread_id: str) -> str:
    """set, until deleted: ids of the crons that run on the thread."""
    return f"{PREFIX}:{{{thread_id}}}:crons"


def deliveries() -> str:
    """sorted set, permanent: job ids of ended runs with a webhook → when its call is due (ms)."""
    return f"{PREFIX}:deliveries"


def delivery(thread_id: str, run_id: str) -> str:
    """hash, TTL: the data of a webhook call, and the number of failed tries."""
    return f"{PREFIX}:{{{thread_id}}}:delivery:{run_id}"


def quota(caller: str, limit: str) -> str:
    """string, TTL: when a caller's bucket of a rate limit is full again (µs). A full bucket has no key."""
    return f"{PREFIX}:quota:{{{caller}}}:{limit}"


def trial(process: str) -> str:
    """string, TTL: a key on which a process tries the commands that it needs (permissions.py)."""
    return f"{PREFIX}:trial:{process}"


def control(worker_id: str) -> str:
    """channel: job ids that this worker must renew now, because a cancel was requested."""
    return f"{PREFIX}:worker:{worker_id}:control"


def job_id(thread_id: str, run_id: str) -> str:
    """Returns arq's job id of a run. It has both ids, so that a worker can build the run's keys."""
    return f"{thread_id}/{run_id}"


def parse_job_id(job: str) -> tuple[str, str]:
    """Returns `(thread_id, run_id)`; raises ValueError if it is not a job id of Millstream."""
    thread_id, slash, run_id = job.partition("/")
    if not (thread_id and slash and run_id):
        raise ValueError(f"not a job id: {job!r}")
    return thread_id, run_id


def decode_job_id(member: bytes) -> str | None:
    """Returns the job id in a member that Redis returned; None if it is not a job id of Millstream."""
    try:
        job = member.decode()
        parse_job_id(job)
    except ValueError:  # not UTF-8, or not a job id
        return None
    return job


def thread_id_of(key: str) -> str:
    """Returns the thread id in a key that has a hash tag."""
    return key[key.index("{") + 1 : key.index("}")]


def share(queue_name: str, digest: str = "", cost: float = COST) -> str:
    """Returns the field `share` of a run's record (parts/fair_queue.lua); `digest` is that of its client's identity."""
    return f"{shares(queue_name)} {digest} {cost!r}"


def run_ref(thread_id: str, run_id: str, queue_name: str) -> str:
    """Returns a run reference: what a thread stores of an active, waiting or deferred run.

    It has the job id and the keys with which a script releases, cancels or ends the run, separated by
    blanks.
    """
    parts = [
        job_id(thread_id, run_id),
        queue(queue_name),
        wake(queue_name),
        run(thread_id, run_id),
        events(thread_id, run_id),
        delivery(thread_id, run_id),
    ]
    return " ".join(parts)
