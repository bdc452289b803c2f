"""Ask for the end of a run: see cancel.lua."""

from millstream.shared import keys
from millstream.shared.lifecycle import TERMINAL, RunStatus
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("cancel")
CANCELLABLE = sorted(frozenset(RunStatus) - TERMINAL)


async def cancel(
    redis: Client, thread_id: str, run_id: str, action: str, *, left: str = ""
) -> RunStatus | None:
    """Notes the cancel on the record and rings the worker; returns the run's status, None if unknown.

    With `left`, the mark of a client that left, nothing is noted if it came back meanwhile.
    """
    job = keys.job_id(thread_id, run_id)
    status = await SCRIPT(redis, [keys.run(thread_id, run_id)], [job, action, left, *CANCELLABLE])
    return RunStatus(status.decode()) if status else None
