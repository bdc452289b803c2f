"""Deletes or prunes the threads whose `ttl` is over. One worker at a time does it."""

import logging
from typing import Final

from millstream.shared import repair, threads
from millstream.shared.redis import Client
from millstream.worker.checkpoints.checkpointing import Checkpointing, UnsupportedError

log = logging.getLogger(__name__)

BATCH: Final = 100  # threads per batch
EVERY: Final = 10.0  # s between sweeps, if langgraph.json sets no interval
MAX_THREADS: Final = 1000  # per sweep, if langgraph.json sets no limit


async def run_once(
    redis: Client,
    checkpointing: Checkpointing,
    *,
    every: float = EVERY,
    max_threads: int = MAX_THREADS,
) -> int:
    """Sweeps unless another worker does. Returns the number of threads that it deleted or pruned.

    Args:
        every: s until the next sweep of any worker.
        max_threads: the limit of this sweep, which begins with the threads that are due longest.
    """
    if not await repair.take_leader_lock(redis, "expiry", every=every):
        return 0

    async def prune(thread_id: str) -> None:
        try:
            await checkpointing.prune(thread_id)
        except UnsupportedError as error:
            log.warning("thread %s can't be pruned: %s", thread_id, error)

    done = 0
    while done < max_threads:
        batch = min(BATCH, max_threads - done)
        expired = await threads.expire(redis, limit=batch, prune=prune)
        done += expired
        if expired < batch:
            break
    if done:
        log.info("deleted or pruned %d threads whose ttl is over", done)
    return done
