"""End a run: see finish.lua."""

from collections.abc import Sequence
from typing import Final

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.lifecycle import Cause, RunStatus, ThreadStatus, follow
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.wire import RunSpec

SCRIPT = Script("finish")
DELIVERY_TTL: Final = 4 * 86400  # s: longer than any call of a webhook is tried


async def finish(
    redis: Client,
    spec: RunSpec,
    cause: Cause,
    *,
    fence: int | None,
    stream_ttl: int,
    thread: dict[str, str | bytes] | None = None,
    events: Sequence[str | bytes] = (),
    after: int = 0,
    output: bytes = b"",
    error: bytes = b"",
) -> RunStatus | None:
    """Moves the run along the edge of `cause`, writes its last events and releases the next run.

    Args:
        fence: that of the caller's lease; None to end a run that nobody holds (it is pending).
        stream_ttl: seconds for which the events stay readable.
        thread: fields of the thread to set: settled (its status once no run is left), values,
            interrupts, error. A run that was never executed sets none.
        events: `[event name, JSON data, …]` to append before the `end` event.
        after: index of the newest event that the caller knows of (append.Batch).
        output: JSON that wait and join answer with.
        error: JSON of the error, for the record.

    Returns the terminal status that this call gave the run, or None when it gave none: the run
    has ended already, or is held by somebody, or (for a cause other than `cancelled`) a cancel
    that was asked for goes first, and the caller is to end the run as cancelled.

    Raises:
        FencedError: the lease is another's.
    """
    start = RunStatus.PENDING if fence is None else RunStatus.RUNNING
    target = follow(start, cause)
    if target is None or cause is Cause.STRANDED:  # that is repair_run's, which looks again
        raise ValueError(f"no edge from {start} by {cause}")
    thread_id, run_id = spec.thread_id, spec.run_id
    fields = pairs(thread or {})
    job = keys.job_id(thread_id, run_id)
    reply = await SCRIPT(
        redis,
        [
            keys.run(thread_id, run_id),
            keys.thread(thread_id),
            keys.runs(thread_id),
            keys.waiting(thread_id),
            keys.events(thread_id, run_id),
            keys.queue(spec.queue),
            keys.garbage(),
            keys.live(),
            keys.undone(thread_id),
            keys.expiring(),
            keys.deliveries(),
            keys.delivery(thread_id, run_id),
            keys.turns(thread_id),
            keys.deferred(thread_id),
            *keys.threads_index(),
        ],
        [
            job,
            run_id,
            keys.ticket(thread_id, run_id, spec.queue),
            "" if fence is None else fence,
            "" if cause is Cause.CANCELLED else "1",
            stream_ttl,
            ThreadStatus.BUSY,
            error,
            start,
            target,
            output,
            DELIVERY_TTL,
            after,
            len(fields),
            *fields,
            *events,
        ],
    )
    if reply[0] == b"fenced":
        raise FencedError(f"run {run_id} is held by another worker")
    return RunStatus(reply[1].decode()) if reply[0] == b"finished" else None
