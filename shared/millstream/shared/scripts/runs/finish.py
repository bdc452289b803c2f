"""End a run: see finish.lua."""

from collections.abc import Sequence
from typing import Final, Literal

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, RunStatus, ThreadStatus, follow
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.scripts.threads.thread_index import thread_index_keys
from millstream.shared.wire import RunSpec

SCRIPT = Script("runs/finish")
Reply = Literal["finished", "cancelled", "fenced", "refused"]
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
        thread: fields of the thread to set: idle_status (its status once no run is left), values,
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
        run=keys.run(thread_id, run_id),
        thread=keys.thread(thread_id),
        runs=keys.runs(thread_id),
        waiting=keys.waiting(thread_id),
        events=keys.events(thread_id, run_id),
        queue=keys.queue(spec.queue),
        garbage=keys.garbage(),
        live=keys.live(),
        rolled_back=keys.rolled_back(thread_id),
        expiring=keys.expiring(),
        deliveries=keys.deliveries(),
        delivery=keys.delivery(thread_id, run_id),
        segments=keys.segments(thread_id),
        deferred=keys.deferred(thread_id),
        job=job,
        run_ref=keys.run_ref(thread_id, run_id, spec.queue),
        fence="" if fence is None else fence,
        yields="" if cause is Cause.CANCELLED else "1",
        events_ttl=stream_ttl,
        busy=ThreadStatus.BUSY,
        failure=error,
        start=start,
        target=target,
        output=output,
        delivery_ttl=DELIVERY_TTL,
        after=after,
        thread_fields=fields,
        last_events=events,
        **thread_index_keys(),
    )
    word: Reply = reply[0].decode()
    if word == "fenced":
        raise FencedError(f"run {run_id} is held by another worker")
    return RunStatus(reply[1].decode()) if word == "finished" else None
