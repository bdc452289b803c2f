"""Admit a run: see admit.lua."""

from typing import Any, Final

import msgspec

from millstream.shared import keys
from millstream.shared.errors import ConflictError, NotFoundError, OverloadedError
from millstream.shared.leaves import FILED, named_by
from millstream.shared.lifecycle import Cause, RunStatus, ThreadStatus, follow
from millstream.shared.multitask import WHEN_BUSY, Strategy
from millstream.shared.redis import Client
from millstream.shared.scripts.finish import DELIVERY_TTL
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.wire import RunSpec, pack

SCRIPT = Script("admit")
MOST_ENDED: Final = 100  # displaced runs that one script ends, so that it holds nobody up


def arguments(
    spec: RunSpec,
    delay_ms: int,
    new_thread: dict[str, Any] | None,
    max_live: int,
    stream_ttl: int,
    answers: bytes | None = None,
) -> tuple[list[str], list[Any]]:
    """Returns the keys and words of one admission; see `admit`."""
    thread, run = spec.thread_id, spec.run_id
    job = keys.job_id(thread, run)
    created = new_thread or {}
    if spec.temporary:  # nobody looks for a thread that goes with its run: it is not listed
        created = {name: word for name, word in created.items() if name not in FILED}
    return (
        [
            keys.thread(thread),
            keys.runs(thread),
            keys.waiting(thread),
            keys.run(thread, run),
            keys.queue(spec.queue),
            keys.wake(spec.queue),
            keys.live(),
            keys.expiring(),
            keys.deferred(thread),
            keys.turns(thread),
            keys.undone(thread),
            keys.garbage(),
            keys.deliveries(),
            *keys.threads_index(),
        ],
        [
            job,
            run,
            pack(spec),
            RunStatus.PENDING,
            WHEN_BUSY[Strategy(spec.strategy)],
            delay_ms,
            "refuse" if new_thread is None else "create",
            spec.graph_id,
            spec.assistant_id,
            keys.ticket(thread, run, spec.queue),
            spec.protocol,
            max_live,
            spec.queue,
            named_by(spec.graph_id, spec.assistant_id),
            _webhook(spec),
            answers or "",
            "1" if spec.temporary else "",
            follow(RunStatus.PENDING, Cause.CANCELLED) or "",
            RunStatus.RUNNING,
            ThreadStatus.BUSY,
            stream_ttl,
            DELIVERY_TTL,
            MOST_ENDED,
            *pairs(created),
        ],
    )


class _Told(msgspec.Struct):
    """The one part of a request that is looked at here."""

    webhook: str | None = None


def _webhook(spec: RunSpec) -> str:
    if b'"webhook":"' not in spec.kwargs:  # so that inputs are not read for nothing
        return ""
    return msgspec.json.decode(spec.kwargs, type=_Told).webhook or ""


async def admit(
    redis: Client,
    spec: RunSpec,
    *,
    delay_ms: int,
    new_thread: dict[str, Any] | None,
    stream_ttl: int,
    max_live: int = 0,
    answers: bytes | None = None,
) -> tuple[int, list[bytes]]:
    """Writes the run, its place in its thread and in the queue, in one step or not at all.

    Args:
        spec: the run; its id is the caller's, so that a repeat changes nothing.
        delay_ms: how long after now it is due.
        new_thread: fields of the thread to create if it is missing; None refuses instead.
        stream_ttl: seconds for which the events of displaced runs stay readable.
        max_live: runs that may be alive at a time; 0 for no limit.
        answers: JSON of the thread's interrupts, as they were read, if the run answers them.

    Returns the time of admission in µs, and the tickets of those of the runs that the strategy
    displaced that the caller is to end (`end_displaced`): those beyond `MOST_ENDED`. The others have
    ended; one that a worker holds is ended by that worker.

    Raises:
        NotFoundError: there is no such thread, and it was not to be created.
        ConflictError: the thread has a run that is pending or running, and the strategy is reject; or it does not wait on what
            is answered any more.
        OverloadedError: `max_live` runs are alive.
    """
    reply = await SCRIPT(
        redis, *arguments(spec, delay_ms, new_thread, max_live, stream_ttl, answers)
    )
    if reply[0] == b"missing":
        raise NotFoundError("Thread or assistant not found.")
    if reply[0] == b"busy":
        raise ConflictError(
            "Thread is already running a task. Wait for it to finish or choose a different "
            "multitask strategy."
        )
    if reply[0] == b"changed":
        raise ConflictError("The thread does not wait for these answers any more.")
    if reply[0] == b"full":
        raise OverloadedError(
            f"{max_live} runs are waiting or running already, and that is the most "
            "(QUEUE_MAX_DEPTH). Try again later.",
            retry_after=5,
        )
    return int(reply[1]), reply[2]
