"""Deletes an ended run: see delete_run.lua."""

from typing import Literal, cast

from millstream.shared import keys
from millstream.shared.errors import RightsChangedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/delete_run")
Reply = Literal["deleted", "missing"] | RunStatus


async def delete_run(redis: Client, thread_id: str, run_id: str, guard: str = "") -> Reply:
    """Deletes the run; returns 'deleted', 'missing', or the status of a run that has not ended and stays.

    Raises RightsChangedError, without a change, if the thread's metadata is not the one that `guard` is of.
    """
    reply = await SCRIPT(
        redis,
        run=keys.run(thread_id, run_id),
        thread=keys.thread(thread_id),
        events=keys.events(thread_id, run_id),
        runs=keys.runs(thread_id),
        segments=keys.segments(thread_id),
        run_id=run_id,
        guard=guard,
        ended_statuses=sorted(TERMINAL),
    )
    status = reply.decode()
    if status == "rejudge":
        raise RightsChangedError
    return cast("Reply", status) if status in ("deleted", "missing") else RunStatus(status)
