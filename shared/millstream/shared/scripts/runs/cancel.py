"""Requests the cancel of a run: see cancel.lua."""

from millstream.shared import keys
from millstream.shared.errors import RightsChangedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/cancel")
CANCELLABLE = sorted(frozenset(RunStatus) - TERMINAL)


async def cancel(
    redis: Client,
    thread_id: str,
    run_id: str,
    action: CancelAction,
    *,
    reason: CancelReason = CancelReason.EXPLICIT,
    joined: int | None = None,
    guard: str = "",
) -> RunStatus | None:
    """Writes the cancel on the record, notifies the worker, and returns the run's status.

    Args:
        action: 'interrupt' or 'rollback'.
        reason: why the run is cancelled.
        joined: for the cancel of a client that left: what `note_joined` returned to it (0 if it created
            the run). If a client has joined since, the run is not cancelled.
        guard: of the metadata by which the caller's rights were judged (parts/guard.lua).

    Raises RightsChangedError, without a change, if the thread's metadata is not the judged one any more.
    Returns None if the run does not exist, or a client has joined since.
    """
    status = await SCRIPT(
        redis,
        run=keys.run(thread_id, run_id),
        thread=keys.thread(thread_id),
        job=keys.job_id(thread_id, run_id),
        action=CancelAction(action),
        joined="" if joined is None else joined,
        reason=reason,
        guard=guard,
        cancellable=CANCELLABLE,
    )
    if status == b"rejudge":
        raise RightsChangedError
    return RunStatus(status.decode()) if status else None
