"""Put a stuck run right: see repair_run.lua."""

from typing import Final

from millstream.shared import keys
from millstream.shared.lifecycle import Cause, RunStatus, ThreadStatus, edges
from millstream.shared.redis import Client
from millstream.shared.scripts.finish import DELIVERY_TTL
from millstream.shared.scripts.script import Script

SCRIPT = Script("repair_run")
STRANDED: Final = (
    b'{"error":"ThreadLost","message":"The run was given up: its thread is gone from Redis."}'
)


async def repair_run(redis: Client, job: str, queue: str, *, lease_ms: int, stream_ttl: int) -> str:
    """Returns what was done: see repair_run.lua. Of a healthy run nothing is changed.

    Args:
        job: the run's job id (keys.job_id).
        queue: the queue it was admitted to.
        lease_ms: the time in which a worker that holds the run will have renewed its lease.
        stream_ttl: seconds for which the events stay readable if it is ended here.
    """
    thread, run = keys.parse_job_id(job)
    reply = await SCRIPT(
        redis,
        [
            keys.run(thread, run),
            keys.thread(thread),
            keys.waiting(thread),
            keys.events(thread, run),
            keys.queue(queue),
            keys.wake(queue),
            keys.live(),
            keys.runs(thread),
            keys.garbage(),
            keys.deliveries(),
            keys.delivery(thread, run),
            keys.turns(thread),
            keys.deferred(thread),
            *keys.threads_index(),
        ],
        [
            job,
            keys.ticket(thread, run, queue),
            RunStatus.PENDING,
            RunStatus.RUNNING,
            ThreadStatus.BUSY,
            lease_ms,
            stream_ttl,
            STRANDED,
            DELIVERY_TTL,
            *edges(Cause.STRANDED),
        ],
    )
    return str(reply.decode())
