"""How a worker waits for jobs and reports that it is alive, and Redis' clock.

The queue is arq's: a sorted set of job ids, scored by the time at which they are due. A wake list beside it saves idle
workers from polling.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Final

from millstream.shared import keys
from millstream.shared.redis import Client

LOST_SECONDS: Final = (
    60.0  # for which a worker that stopped to report counts as lost; then it is forgotten
)
BLOCKING_GRACE_SECONDS: Final = 3.0  # after its timeout until a blocking command counts as lost


async def wait_for_wake(redis: Client, queue: str, within: float) -> str | None:
    """Blocks for at most `within` seconds; returns the id of a job that became due, or None.

    If a worker takes an id and dies, `scripts.find_due` finds the job again. An id that is not UTF-8 is not
    Millstream's; `os.fsencode` returns its bytes.
    """
    seconds: Any = max(0.01, within)  # 0 would block without a timeout
    # The reply may never arrive, if the connection broke without a notice.
    async with asyncio.timeout(within + BLOCKING_GRACE_SECONDS):
        popped = await redis.blpop([keys.wake(queue)], timeout=seconds)  # type: ignore[misc]
    return os.fsdecode(popped[1]) if popped else None


async def report_serving(redis: Client, queue: str, worker_id: str, *, ttl: float) -> None:
    """Reports that the worker executes runs of the queue, for `ttl` seconds, and removes workers lost long ago."""
    now = await redis_time(redis)
    pipe = redis.pipeline(transaction=False)
    pipe.sadd(keys.queues(), queue)
    pipe.zadd(keys.queue_workers(queue), {worker_id: now + ttl})
    pipe.zremrangebyscore(keys.queue_workers(queue), "-inf", now - LOST_SECONDS)
    await pipe.execute()


async def report_left(redis: Client, queue: str, worker_id: str) -> None:
    """Reports that the worker executes no runs of the queue any more."""
    await redis.zrem(keys.queue_workers(queue), worker_id)


async def report_alive(redis: Client, queues: Sequence[str], worker_id: str, *, ttl: float) -> None:
    """Reports the worker as alive in its call queues for `ttl` seconds, and removes dead workers."""
    now = await redis_time(redis)
    pipe = redis.pipeline(transaction=False)
    for queue in queues:
        pipe.zadd(keys.workers(queue), {worker_id: now + ttl})
        pipe.zremrangebyscore(keys.workers(queue), "-inf", now - 60)
    await pipe.execute()


async def report_gone(redis: Client, queues: Sequence[str], worker_id: str) -> None:
    """Reports the worker as dead now. Its entry stays, so that the API sees when a queue lost its last worker."""
    now = await redis_time(redis)
    pipe = redis.pipeline(transaction=False)
    for queue in queues:
        pipe.zadd(keys.workers(queue), {worker_id: now}, xx=True)
    await pipe.execute()


async def live_workers(redis: Client, queue: str) -> tuple[int, float]:
    """Returns the number of live workers of the call queue, and the current time (s, Redis time)."""
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.zrange(keys.workers(queue), 0, -1, withscores=True)
    (seconds, micros), workers = await pipe.execute()
    now = seconds + micros / 1e6
    return sum(expires > now for _, expires in workers), now


async def redis_time(redis: Client) -> float:
    """Returns the time of Redis' clock in seconds, which all processes share."""
    seconds, micros = await redis.time()
    return float(seconds + micros / 1e6)
