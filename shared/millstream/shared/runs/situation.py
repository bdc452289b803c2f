"""The situation of a run: everything that decides why it moves or does not, read at one moment."""

from dataclasses import dataclass, field
from typing import Any, Final

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus, ThreadStatus
from millstream.shared.runs.journal import Journal, parse_journal
from millstream.shared.scripts.queues.pause_queue import FIELDS, Pause, parse_pause
from millstream.shared.workers import Reports, Worker, send_members

RUN_FIELDS: Final = [
    "status", "graph", "queue", "protocol", "attempt", "fence", "updated_at", "cancel", "reason",
    "cancel_at", "lease_extended", "alone", "journal",
]  # fmt: skip
THREAD_FIELDS: Final = ["status", "active", "retired", "state_updated_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A run, its thread, its place in the queue, and the workers of the queue. Times are ms since the epoch."""

    thread_id: str
    run_id: str
    now: int
    status: RunStatus
    graph_id: str = ""
    queue: str = ""
    protocol: int = 0
    attempt: int = 0
    updated_at: int = 0
    cancel: str | None = None
    """Action of a requested cancel."""
    cancel_reason: str | None = None
    cancel_at: int | None = None
    lease_extended: bool = False
    """Whether the lapsed lease was extended after an outage of Redis."""
    alone: bool = False
    """Whether the lease's holder has marked the run as the only one that it executes."""
    journal: Journal = field(default_factory=Journal)
    thread_status: str | None = None
    """None if the thread is lost."""
    active_run_id: str | None = None
    """The thread's active run."""
    retired: bool = False
    """Whether the deletion of the thread has begun."""
    wrote_state: bool = False
    """Whether the thread's state is what the run's end wrote."""
    fifo_index: int | None = None
    """Index in the thread's FIFO."""
    waiting: int = 0
    """Length of the thread's FIFO."""
    due: float | None = None
    """Score in the queue: its tag (below 0), or when it is due, is tried again, or its lease ends."""
    listed: float | None = None
    """Score in the backlog: when it is due; negative if no worker could execute it."""
    ahead: int = 0
    """Due runs of the queue that are claimed before."""
    total_due: int = 0
    """Due runs of the queue."""
    pause: Pause | None = None
    """Of its queue."""
    delivery_due: float | None = None
    """When its webhook is called next."""
    delivery_tries: int = 0
    """Calls of its webhook that failed."""
    workers: list[Worker] = field(default_factory=list)
    """The workers of its queue."""

    @property
    def is_pause(self) -> bool:
        """Whether the run has paused at an interrupt, and its thread still waits for the answer."""
        return (
            self.status is RunStatus.SUCCESS
            and self.thread_status == ThreadStatus.INTERRUPTED
            and self.wrote_state
        )


async def read_situation(redis: Client, thread_id: str, run_id: str) -> Situation | None:
    """Returns the situation of a run; None if the run does not exist.

    It takes three round trips: one for the name of the queue, one transaction for all records, one for the workers'
    own records. Their size does not depend on the number of runs.
    """
    run, job = keys.run(thread_id, run_id), keys.job_id(thread_id, run_id)
    name: bytes | None = await redis.hget(run, "queue")  # type: ignore[misc]
    queue = name.decode() if name else ""
    backlog = keys.backlog(queue)
    seconds, micros = await redis.time()
    pipe: Any = redis.pipeline(transaction=True)
    pipe.hmget(run, RUN_FIELDS)
    pipe.hmget(keys.thread(thread_id), THREAD_FIELDS)
    pipe.exists(keys.thread(thread_id))
    pipe.lpos(keys.waiting(thread_id), keys.run_ref(thread_id, run_id, queue))
    pipe.llen(keys.waiting(thread_id))
    pipe.zscore(keys.queue(queue), job)
    pipe.zscore(backlog, job)
    pipe.zrank(keys.queue(queue), job)
    pipe.zcount(backlog, 0, seconds * 1000 + micros // 1000)
    pipe.hmget(keys.paused(queue), FIELDS)
    pipe.zscore(keys.deliveries(), job)
    pipe.hget(keys.delivery(thread_id, run_id), "tries")
    pipe.time()
    send_members(pipe, queue, seconds)
    replies = await pipe.execute()
    record, thread, exists, fifo_index, waiting, due, listed, rank, total, *rest = replies
    pause, delivery_due, tries, (seconds, micros), members = rest
    status, *fields = [value and value.decode() for value in record[:-1]]
    if status is None:
        return None
    graph, _, protocol, attempt, fence, updated_at, *others = fields
    cancel, reason, cancel_at, lease_extended, alone = others
    thread_status, active, retired, state_updated_at = [
        value and value.decode() for value in thread
    ]
    reports = Reports(seconds + micros / 1e6, {queue: members})
    reports.send_records(pipe)
    workers = reports.workers(await pipe.execute())
    return Situation(
        thread_id=thread_id,
        run_id=run_id,
        now=seconds * 1000 + micros // 1000,
        status=RunStatus(status),
        graph_id=graph or "",
        queue=queue,
        protocol=int(protocol or 0),
        attempt=int(attempt or 0),
        updated_at=int(updated_at or 0) // 1000,
        cancel=cancel,
        cancel_reason=reason,
        cancel_at=int(cancel_at) if cancel_at else None,
        lease_extended=lease_extended is not None and lease_extended == fence,
        alone=alone is not None and alone == fence,
        journal=parse_journal(record[-1]),
        thread_status=(thread_status or "") if exists else None,
        active_run_id=keys.parse_job_id(active.partition(" ")[0])[1] if active else None,
        retired=retired is not None,
        wrote_state=updated_at is not None and updated_at == state_updated_at,
        fifo_index=fifo_index,
        waiting=waiting,
        due=due,
        listed=listed,
        ahead=rank or 0,
        total_due=total,
        pause=parse_pause(pause),
        delivery_due=delivery_due,
        delivery_tries=int(tries or 0),
        workers=workers,
    )
