"""End runs that an admission displaced and left to its caller: see end_displaced.lua."""

from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.lifecycle import Cause, RunStatus, follow
from millstream.shared.redis import Client
from millstream.shared.scripts.finish import DELIVERY_TTL
from millstream.shared.scripts.script import Script

SCRIPT = Script("end_displaced")


async def end_displaced(
    redis: Client, thread_id: str, tickets: Sequence[bytes], *, stream_ttl: int
) -> int:
    """Ends runs of one thread that are marked and that nobody holds; returns how many it ended.

    Args:
        tickets: what the admission returned of them, some at a time: the script ends all in one step.
        stream_ttl: seconds for which their events stay readable.
    """
    reply = await SCRIPT(
        redis,
        [
            keys.thread(thread_id),
            keys.runs(thread_id),
            keys.live(),
            keys.undone(thread_id),
            keys.garbage(),
            keys.expiring(),
            keys.deliveries(),
            keys.turns(thread_id),
            keys.waiting(thread_id),
            keys.deferred(thread_id),
        ],
        [
            RunStatus.PENDING,
            follow(RunStatus.PENDING, Cause.CANCELLED) or "",
            stream_ttl,
            DELIVERY_TTL,
            *tickets,
        ],
    )
    return int(reply)
