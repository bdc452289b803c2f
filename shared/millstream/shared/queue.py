"""The queue as a worker uses it: waiting for a job, looking for due ones, and being counted.

The queue is arq's: a sorted set of job ids scored by the time at which they are due. Beside it
lies the wake list, so that an idle worker need not poll.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Final

from millstream.shared import keys
from millstream.shared.redis import Client

BLOCKING_GRACE_SECONDS: Final = (
    3.0  # s after which a blocking call that should have returned counts as lost
)


async def wait_for_wake(redis: Client, queue: str, within: float) -> str | None:
    """Blocks for at most `within` seconds; returns the id of a job that became due, or None.

    A job id that is taken here and then lost with its worker is found again by `scripts.find_due`. What is
    no UTF-8 is none of ours; `os.fsencode` gives its bytes back.
    """
    # 0 would mean "for ever".
    seconds: Any = max(0.01, within)
    # The answer may never come, if the other side vanished without a word.
    async with asyncio.timeout(within + BLOCKING_GRACE_SECONDS):
        popped = await redis.blpop([keys.wake(queue)], timeout=seconds)  # type: ignore[misc]
    return os.fsdecode(popped[1]) if popped else None


async def report_alive(redis: Client, queues: Sequence[str], worker_id: str, *, ttl: float) -> None:
    """Counts the worker among the live ones of its queues for `ttl` seconds, and drops the dead."""
    now = await redis_time(redis)
    pipe = redis.pipeline(transaction=False)
    for queue in queues:
        pipe.zadd(keys.workers(queue), {worker_id: now + ttl})
        pipe.zremrangebyscore(keys.workers(queue), "-inf", now - 60)
    await pipe.execute()


async def report_gone(redis: Client, queues: Sequence[str], worker_id: str) -> None:
    """Takes the worker out of the live ones; that it was the last of a queue stays to be seen."""
    now = await redis_time(redis)
    pipe = redis.pipeline(transaction=False)
    for queue in queues:
        pipe.zadd(keys.workers(queue), {worker_id: now}, xx=True)
    await pipe.execute()


async def live_workers(redis: Client, queue: str) -> tuple[int, float]:
    """Returns how many workers of the queue have reported within their time, and that time (s)."""
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.zrange(keys.workers(queue), 0, -1, withscores=True)
    (seconds, micros), workers = await pipe.execute()
    now = seconds + micros / 1e6
    return sum(expires > now for _, expires in workers), now


async def redis_time(redis: Client) -> float:
    """Returns the time by the one clock that all processes share, in seconds."""
    seconds, micros = await redis.time()
    return float(seconds + micros / 1e6)
