"""How a worker waits for jobs, and Redis' clock.

The queue is arq's: a sorted set of job ids, scored by the time at which they are due. A wake list beside it saves idle
workers from polling.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Final

from millstream.shared import keys
from millstream.shared.redis import Client

BLOCKING_GRACE_SECONDS: Final = 3.0  # after its timeout until a blocking command counts as lost


async def wait_for_wake(
    redis: Client, queues: Sequence[str], within: float
) -> tuple[str, str] | None:
    """Blocks for at most `within` seconds; returns the id of a job that became due, and its queue, or None.

    The earlier queues go first. If a worker takes an id and dies, `scripts.find_due` finds the job again. An id that
    is not UTF-8 is not Millstream's; `os.fsencode` returns its bytes.
    """
    seconds: Any = max(0.01, within)  # 0 would block without a timeout
    lists = {keys.wake(name).encode(): name for name in queues}
    # The reply may never arrive, if the connection broke without a notice.
    async with asyncio.timeout(within + BLOCKING_GRACE_SECONDS):
        popped = await redis.blpop([*lists], timeout=seconds)  # type: ignore[misc]
    return (os.fsdecode(popped[1]), lists[popped[0]]) if popped else None


async def redis_time(redis: Client) -> float:
    """Returns the time of Redis' clock in seconds, which all processes share."""
    seconds, micros = await redis.time()
    return float(seconds + micros / 1e6)
