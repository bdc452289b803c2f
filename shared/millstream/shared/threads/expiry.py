"""Deletes or prunes the threads whose `ttl` has passed."""

from collections.abc import Awaitable, Callable
from typing import Final

from millstream.shared import keys, scripts
from millstream.shared.errors import ConflictError
from millstream.shared.redis import Client
from millstream.shared.threads.records import delete_thread

Pruner = Callable[[str], Awaitable[None]]
BUSY_RETRY_MS: Final = 60_000  # until the next try to expire a thread that was busy


async def expire(redis: Client, *, limit: int, prune: Pruner) -> int:
    """Deletes or prunes expired threads, oldest first; returns their number.

    A thread with a run that has not ended stays as it is; the end of that run postpones its expiry.

    Args:
        limit: maximum number of threads to check.
        prune: deletes all but the newest checkpoints of a thread; raises ConflictError while a run is
            active on it.
    """
    seconds, micros = await redis.time()
    now_ms = seconds * 1000 + micros / 1000
    due = await redis.zrangebyscore(
        keys.expiring(), "-inf", now_ms, start=0, num=limit, withscores=True
    )
    expired = 0
    for thread_id, due_ms in due:
        expired += await _expire(redis, thread_id.decode(), due_ms, now_ms, prune)
    return expired


async def _expire(
    redis: Client, thread_id: str, due_ms: float, now_ms: float, prune: Pruner
) -> bool:
    strategy = await redis.hget(keys.thread(thread_id), "ttl_strategy")  # type: ignore[misc]
    if strategy is None:  # the thread is deleted, or its `ttl` was removed
        await scripts.forget_expiry(redis, thread_id, due_ms)
        return False
    if strategy == b"keep_latest":
        try:
            await prune(thread_id)
        except ConflictError:
            status = "busy"
        else:
            return await scripts.forget_expiry(redis, thread_id, due_ms)
    else:
        status = await scripts.retire_thread(redis, thread_id, "due")
    if status == "retired":
        return await delete_thread(redis, thread_id)
    if status == "busy":  # behind the threads that can expire now
        await redis.zadd(keys.expiring(), {thread_id: now_ms + BUSY_RETRY_MS}, xx=True, gt=True)
    return False
