"""Every Redis key and channel: named once, with its type and how long it lives.

Keys of a thread carry its id as hash tag. Scripts never build a key: they are given these, as
KEYS or (where the key belongs to another run) as a word that was stored earlier.

Lives: *until deleted* keys are removed by the script that deletes their thread or run;
`PERMANENT` lists the few that belong to no thread and stay.
"""

from typing import Final

from millstream.shared.rules.lifecycle import ThreadStatus

PREFIX: Final = "ms"
STORE: Final = "store"  # the queue for questions about the long-term store


def thread(thread_id: str) -> str:
    """hash, until deleted: status, idle_status, active (a `run_ref()`), times (µs), JSON of values, …"""
    return f"{PREFIX}:{{{thread_id}}}:thread"


def runs(thread_id: str) -> str:
    """sorted set, until deleted: run id → time of admission (µs)."""
    return f"{PREFIX}:{{{thread_id}}}:runs"


def waiting(thread_id: str) -> str:
    """list, until empty: the thread's FIFO, one `run_ref()` a run that waits for its turn."""
    return f"{PREFIX}:{{{thread_id}}}:waiting"


def deferred(thread_id: str) -> str:
    """sorted set, until empty: run_refs of the runs that are due later → when that is (ms)."""
    return f"{PREFIX}:{{{thread_id}}}:deferred"


def segments(thread_id: str) -> str:
    """sorted set, until deleted: runs and updates → the number of their turn; and a doorbell."""
    return f"{PREFIX}:{{{thread_id}}}:segments"


def rolled_back(thread_id: str) -> str:
    """set, stream TTL: runs that were rolled back, whose events are still readable."""
    return f"{PREFIX}:{{{thread_id}}}:rolled_back"


def run(thread_id: str, run_id: str) -> str:
    """hash, until deleted (of a temporary thread: stream TTL): spec, status, fence, attempt, …"""
    return f"{PREFIX}:{{{thread_id}}}:run:{run_id}"


def events(thread_id: str, run_id: str) -> str:
    """stream, TTL from the first entry on: one entry an event. Also the name of its doorbell."""
    return f"{PREFIX}:{{{thread_id}}}:run:{run_id}:events"


def checkpoint_namespaces(thread_id: str) -> str:
    """set, until deleted: the checkpoint namespaces of the thread; '' is the root graph's."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints"


def checkpoint_index(thread_id: str, namespace: str) -> str:
    """sorted set, until deleted: checkpoint ids, all of score 0, so in the order of their names."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:index:{namespace}"


def checkpoint_records(thread_id: str, namespace: str) -> str:
    """hash, until deleted: checkpoint id → the checkpoint without its values (msgpack)."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:records:{namespace}"


def checkpoint_references(thread_id: str, namespace: str) -> str:
    """hash, until deleted: checkpoint id → its run, its parent, the fields of its values."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:references:{namespace}"


def checkpoint_values(thread_id: str, namespace: str) -> str:
    """hash, until deleted: channel and version → the value, stored once (msgpack)."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:values:{namespace}"


def checkpoint_writes(thread_id: str, namespace: str) -> str:
    """hash, until deleted: checkpoint id → what tasks wrote after it (appended)."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:writes:{namespace}"


def checkpoint_runs(thread_id: str) -> str:
    """set, until deleted: ids of the runs that stored checkpoints or writes in the thread."""
    return f"{PREFIX}:{{{thread_id}}}:checkpoints:runs"


def runs_with_checkpoints() -> str:
    """sorted set, permanent: a run's id, NUL, a thread in which it stored checkpoints (score 0).

    A member goes with the thread, or with what the run stored in it, in the same script.
    """
    return f"{PREFIX}:runs_with_checkpoints"


def run_in_thread(run_id: str, thread_id: str) -> str:
    """Returns the member of `runs_with_checkpoints()` that says so."""
    return f"{run_id}\0{thread_id}"


def queue(name: str) -> str:
    """sorted set, permanent: arq's queue. Job id → when it is due (ms): now, later, lease's end."""
    return f"{PREFIX}:queue:{name}"


def wake(name: str) -> str:
    """list, permanent: one job id for each job that became due at once; idle workers block on it."""
    return f"{PREFIX}:queue:{name}:wake"


def health(name: str) -> str:
    """string, TTL: arq's own health line of a queue."""
    return f"{PREFIX}:queue:{name}:health"


def call_queue(graph_id: str) -> str:
    """Returns the name of the queue for questions about a graph."""
    return f"graph:{graph_id}"


def calls(call_queue_name: str) -> str:
    """list, permanent: the questions of a queue (`wire.Call`)."""
    return f"{PREFIX}:calls:{call_queue_name}:calls"


def reply(call_id: str) -> str:
    """list, TTL: the one answer to a call (`wire.Reply`)."""
    return f"{PREFIX}:reply:{call_id}"


def workers(call_queue_name: str) -> str:
    """sorted set, permanent: live workers that answer in a queue → when they count as gone (s)."""
    return f"{PREFIX}:calls:{call_queue_name}:workers"


def item(name: str) -> str:
    """JSON, users' data: an item of the store, until it is deleted or its own TTL ends."""
    return f"{PREFIX}:item:{name}"


def items_index() -> str:
    """search index: all items by namespace and time of update."""
    return f"{PREFIX}:items"


def vectors_index(dims: int) -> str:
    """search index: the items that have embeddings of so many numbers."""
    return f"{PREFIX}:items:vectors:{dims}"


def graphs() -> str:
    """hash, permanent: graph id → `wire.GraphInfo`, announced by the workers that serve it."""
    return f"{PREFIX}:graphs"


def project() -> str:
    """string, permanent: `wire.Project`, announced by the workers with their graphs."""
    return f"{PREFIX}:project"


def live() -> str:
    """set, permanent: job ids of the runs that have not ended."""
    return f"{PREFIX}:live"


def retired() -> str:
    """set, permanent: ids of the threads that are being deleted."""
    return f"{PREFIX}:retired"


def leader_lock(service: str) -> str:
    """string, TTL: an upkeep service has had its turn in this interval."""
    return f"{PREFIX}:leader:{service}"


def garbage() -> str:
    """sorted set, permanent: threads that are gone and whose checkpoints are to be deleted."""
    return f"{PREFIX}:garbage"


def expiring() -> str:
    """sorted set, permanent: ids of the threads that have a `ttl` → when they are due (ms)."""
    return f"{PREFIX}:expiring"


def threads_by(field: str) -> str:
    """sorted set, permanent: ids of the listed threads → a time on their records (µs), or 0.

    The fields are thread_id (all of score 0, so in the order of their names), created_at,
    updated_at and state_updated_at.
    """
    return f"{PREFIX}:threads:{field}"


def threads_of(status: str) -> str:
    """set, permanent: ids of the listed threads of that status."""
    return f"{PREFIX}:threads:status:{status}"


def term(digest: str) -> str:
    """set, until its last thread goes: ids of the listed threads whose metadata has that leaf."""
    return f"{PREFIX}:term:{digest}"


def unindexed() -> str:
    """set, permanent: ids of the listed threads whose metadata is too large for sets of leaves."""
    return f"{PREFIX}:threads:unindexed"


def threads_index() -> list[str]:
    """Returns the keys by which threads are found: see scripts/thread_index.py."""
    orders = ("thread_id", "created_at", "updated_at", "state_updated_at")
    return [*map(threads_by, orders), *map(threads_of, ThreadStatus)]


def assistant(assistant_id: str) -> str:
    """hash, until deleted: head (`wire.Assistant`), version, newest, revision, times (µs); of each
    version N `v:N` (`wire.Assistant`) and `t:N` (µs)."""
    return f"{PREFIX}:assistant:{assistant_id}"


def assistants() -> str:
    """sorted set, permanent: id of every assistant with a record → when it was created (µs)."""
    return f"{PREFIX}:assistants"


def cron(cron_id: str) -> str:
    """hash, until deleted: cron (`wire.Cron`), payload, request, version, times (µs)."""
    return f"{PREFIX}:cron:{cron_id}"


def crons() -> str:
    """sorted set, permanent: every cron's id → when it is due (ms); +inf: it is not."""
    return f"{PREFIX}:crons"


def crons_of(thread_id: str) -> str:
    """set, until deleted: ids of the crons that run on the thread."""
    return f"{PREFIX}:{{{thread_id}}}:crons"


def deliveries() -> str:
    """sorted set, permanent: job ids of ended runs with a webhook → when its call is due (ms)."""
    return f"{PREFIX}:deliveries"


def delivery(thread_id: str, run_id: str) -> str:
    """hash, TTL: what a webhook is told of a run's end, and how often that was tried."""
    return f"{PREFIX}:{{{thread_id}}}:delivery:{run_id}"


def trial(process: str) -> str:
    """string, TTL: what a process tries on whether its user of Redis may do what it needs."""
    return f"{PREFIX}:trial:{process}"


def control(worker_id: str) -> str:
    """channel: job ids that this worker should look at now, because a cancel was asked for."""
    return f"{PREFIX}:worker:{worker_id}:control"


def permanent_keys(queue_names: list[str], graph_ids: list[str]) -> frozenset[str]:
    """Returns the named list: the keys that need no TTL though they belong to no thread."""
    per_queue, per_call_queue = (queue, wake), (calls, workers)
    queues = [STORE, *map(call_queue, graph_ids)]
    return frozenset(
        [
            assistants(),
            crons(),
            deliveries(),
            expiring(),
            graphs(),
            garbage(),
            live(),
            project(),
            runs_with_checkpoints(),
            retired(),
            unindexed(),
            *threads_index(),
            *(key(name) for name in queue_names for key in per_queue),
            *(key(name) for name in queues for key in per_call_queue),
        ]
    )


def sample_keys() -> list[str]:
    """Returns a key of each kind that may lie under a key pattern of its own: `ms:{…}:`, `ms:queue:`, …

    They name nothing that there is.
    """
    word = "trial"
    return [
        assistant(word), assistants(), cron(word), crons(), deliveries(), expiring(), garbage(),
        graphs(), item(word), items_index(), term(word), live(), project(), queue(word),
        runs_with_checkpoints(), reply(word), retired(), thread(word), threads_of(word), trial(word), leader_lock(word),
        workers(word),
    ]  # fmt: skip


def sample_channels() -> list[str]:
    """Returns a channel of each kind: the doorbells of a run and of a thread, a worker's control."""
    word = "trial"
    return [events(word, word), segments(word), control(word)]


def job_id(thread_id: str, run_id: str) -> str:
    """Returns arq's job id of a run: it names both, so that a worker can name the run's keys."""
    return f"{thread_id}/{run_id}"


def parse_job_id(job: str) -> tuple[str, str]:
    """Returns `(thread_id, run_id)`; raises ValueError for a word that is no job id of ours."""
    thread_id, slash, run_id = job.partition("/")
    if not (thread_id and slash and run_id):
        raise ValueError(f"not a job id: {job!r}")
    return thread_id, run_id


def decode_job_id(word: bytes) -> str | None:
    """Returns the job id that a word in Redis is, or None if it is no job id of ours."""
    try:
        job = word.decode()
        parse_job_id(job)
    except ValueError:  # not UTF-8 either
        return None
    return job


def thread_id_of(key: str) -> str:
    """Returns the id of the thread that a key with a hash tag belongs to."""
    return key[key.index("{") + 1 : key.index("}")]


def run_ref(thread_id: str, run_id: str, queue_name: str) -> str:
    """Returns what a thread holds of a run that is active, waits or is due later: its job id, and
    the keys that a script needs to release, to cancel or to end it."""
    words = [
        job_id(thread_id, run_id),
        queue(queue_name),
        wake(queue_name),
        run(thread_id, run_id),
        events(thread_id, run_id),
        delivery(thread_id, run_id),
    ]
    return " ".join(words)
