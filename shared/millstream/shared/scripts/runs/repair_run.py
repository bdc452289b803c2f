"""Repairs a stuck run: see repair_run.lua."""

from typing import Final, Literal, cast

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, RunStatus, ThreadStatus, edges
from millstream.shared.scripts.runs.finish import DELIVERY_TTL
from millstream.shared.scripts.script import Script
from millstream.shared.scripts.threads.thread_index import thread_index_keys

SCRIPT = Script("runs/repair_run")
Reply = Literal["fine", "cancel", "ended", "stranded", "queued", "listed", "released"]
STRANDED: Final = (
    b'{"error":"ThreadLost","message":"The run was given up: its thread is gone from Redis."}'
)


async def repair_run(
    redis: Client, job: str, queue: str, *, lease_ms: int, stream_ttl: int
) -> Reply:
    """Repairs the run if it is stuck; returns what the script did (see repair_run.lua).

    Args:
        job: the run's job id (keys.job_id).
        queue: name of the queue that the run was admitted to.
        lease_ms: milliseconds within which a worker that holds the run renews its lease.
        stream_ttl: seconds for which the events stay readable if the script ends the run.
    """
    thread, run = keys.parse_job_id(job)
    reply = await SCRIPT(
        redis,
        run=keys.run(thread, run),
        thread=keys.thread(thread),
        waiting=keys.waiting(thread),
        events=keys.events(thread, run),
        queue=keys.queue(queue),
        backlog=keys.backlog(queue),
        wake=keys.wake(queue),
        live=keys.live(),
        identities=keys.identities(),
        runs=keys.runs(thread),
        garbage=keys.garbage(),
        deliveries=keys.deliveries(),
        delivery=keys.delivery(thread, run),
        segments=keys.segments(thread),
        deferred=keys.deferred(thread),
        job=job,
        run_ref=keys.run_ref(thread, run, queue),
        pending=RunStatus.PENDING,
        running=RunStatus.RUNNING,
        busy=ThreadStatus.BUSY,
        lease=lease_ms,
        events_ttl=stream_ttl,
        failure=STRANDED,
        delivery_ttl=DELIVERY_TTL,
        stranded=edges(Cause.STRANDED),
        **thread_index_keys(),
    )
    return cast("Reply", reply.decode())
