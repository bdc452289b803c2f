"""Ends a run: see finish.lua."""

from collections.abc import Sequence
from typing import Final, Literal

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, RunStatus, ThreadStatus, follow
from millstream.shared.scripts.runs.ending_keys import ending_keys
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.scripts.threads.thread_index import thread_index_keys
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.fields import seal_events, seal_thread
from millstream.shared.sealing.locations import of_run
from millstream.shared.wire import RunSpec

SCRIPT = Script("runs/finish")
Reply = Literal["finished", "cancelled", "fenced", "refused"]
DELIVERY_TTL: Final = (
    4 * 86400
)  # s: longer than the delivery of a webhook is retried (WEBHOOK_GIVE_UP_SECS)


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
        fence: of the caller's lease; None to end a pending run, which no worker holds.
        stream_ttl: seconds for which the events stay readable.
        thread: fields of the thread to set: idle_status (the thread's status once no run is left), values,
            interrupts, error. None for a run that was never executed.
        events: `[event name, JSON data, …]` to append before the `end` event.
        after: index of the newest event that the caller knows (append.Batch).
        output: JSON response of wait and join.
        error: JSON of the error, for the record.

    Returns the terminal status that this call gave the run. Returns None if the call changed nothing: the
    run has ended, a worker holds it, or a requested cancel takes precedence over the cause; the caller
    must then end the run as cancelled.

    Raises:
        FencedError: another worker holds the lease.
        ValueError: no edge of the lifecycle has this cause.
    """
    start = RunStatus.PENDING if fence is None else RunStatus.RUNNING
    target = follow(start, cause)
    if (
        target is None or cause is Cause.STRANDED
    ):  # only repair_run has that cause, and checks the run again
        raise ValueError(f"no edge from {start} by {cause}")
    thread_id, run_id = spec.thread_id, spec.run_id
    key_ring = key_ring_of(redis)
    fields = pairs(seal_thread(key_ring, thread_id, thread or {}))
    job = keys.job_id(thread_id, run_id)
    reply = await SCRIPT(
        redis,
        run=keys.run(thread_id, run_id),
        events=keys.events(thread_id, run_id),
        queue=keys.queue(spec.queue),
        backlog=keys.backlog(spec.queue),
        delivery=keys.delivery(thread_id, run_id),
        job=job,
        run_ref=keys.run_ref(thread_id, run_id, spec.queue),
        fence="" if fence is None else fence,
        yields="" if cause is Cause.CANCELLED else "1",
        events_ttl=stream_ttl,
        busy=ThreadStatus.BUSY,
        failure=key_ring.seal(of_run(thread_id, run_id, "error"), error),
        start=start,
        target=target,
        cause=cause,
        output=key_ring.seal(of_run(thread_id, run_id, "output"), output),
        delivery_ttl=DELIVERY_TTL,
        after=after,
        thread_fields=fields,
        last_events=seal_events(key_ring, spec, events),
        **ending_keys(thread_id),
        **thread_index_keys(),
    )
    status: Reply = reply[0].decode()
    if status == "fenced":
        raise FencedError(f"run {run_id} is held by another worker")
    return RunStatus(reply[1].decode()) if status == "finished" else None
