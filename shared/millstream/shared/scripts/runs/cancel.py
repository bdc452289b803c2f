"""Ask for the end of a run: see cancel.lua."""

from millstream.shared import keys
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
) -> RunStatus | None:
    """Notes the cancel on the record and rings the worker; returns the run's status, None if unknown.

    With `joined`, what `note_joined` told a client that left (0: it created the run), nothing is
    noted if somebody has come since, and None is returned.

    Raises ValueError if `action` is no CancelAction: the worker that ends the run could not read it.
    """
    job = keys.job_id(thread_id, run_id)
    seen = "" if joined is None else joined
    status = await SCRIPT(
        redis,
        run=keys.run(thread_id, run_id),
        job=job,
        action=CancelAction(action),
        joined=seen,
        reason=reason,
        cancellable=CANCELLABLE,
    )
    return RunStatus(status.decode()) if status else None
