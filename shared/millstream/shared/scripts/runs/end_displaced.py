"""Ends runs that an admission displaced and left to its caller: see end_displaced.lua."""

from collections.abc import Sequence

from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, RunStatus, follow
from millstream.shared.scripts.runs.ending_keys import ending_keys
from millstream.shared.scripts.runs.finish import DELIVERY_TTL
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/end_displaced")


async def end_displaced(
    redis: Client, thread_id: str, run_refs: Sequence[bytes], *, stream_ttl: int
) -> int:
    """Ends marked runs of a thread that no worker holds; returns the number of runs that it ended.

    Args:
        run_refs: references from the admission; at most `MAX_ENDED`, because the script ends all in one step.
        stream_ttl: seconds for which their events stay readable.
    """
    reply = await SCRIPT(
        redis,
        pending=RunStatus.PENDING,
        cancelled=follow(RunStatus.PENDING, Cause.CANCELLED) or "",
        events_ttl=stream_ttl,
        delivery_ttl=DELIVERY_TTL,
        run_refs=run_refs,
        **ending_keys(thread_id),
    )
    return int(reply)
