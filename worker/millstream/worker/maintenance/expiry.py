"""Deletes or prunes the threads whose `ttl` is over. One worker at a time does it."""

import logging
from typing import Final

from millstream.shared import repair, threads
from millstream.shared.redis import Client
from millstream.worker.checkpoints.checkpointing import Checkpointing, UnsupportedError

log = logging.getLogger(__name__)

BATCH: Final = 100  # threads looked at in one go
EVERY: Final = 10.0  # s between sweeps, unless langgraph.json says otherwise
MAX_THREADS: Final = 1000  # of one sweep, likewise


async def run_once(
    redis: Client,
    checkpointing: Checkpointing,
    *,
    every: float = EVERY,
    max_threads: int = MAX_THREADS,
) -> int:
    """Sweeps, unless another worker does; returns how many threads it deleted or pruned.

    Args:
        every: s until the next sweep, of whichever worker.
        max_threads: of this sweep; those that are longest due go first.
    """
    if not await repair.take_leader_lock(redis, "expiry", every=every):
        return 0

    async def prune(thread_id: str) -> None:
        try:
            await checkpointing.prune(thread_id)
        except UnsupportedError as error:
            log.warning("thread %s keeps all its checkpoints: %s", thread_id, error)

    done = 0
    while done < max_threads:
        batch = min(BATCH, max_threads - done)
        part = await threads.expire(redis, limit=batch, prune=prune)
        done += part
        if part < batch:
            break
    if done:
        log.info("%d threads were at the end of their time", done)
    return done
