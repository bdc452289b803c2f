"""Deletes or prunes the threads whose `ttl` is over. Of all workers, one has its turn at a time."""

import logging
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver

from millstream.shared import repair, threads
from millstream.shared.redis import Client
from millstream.worker.checkpoints.saver import FencedSaver

log = logging.getLogger(__name__)

BATCH: Final = 100  # threads looked at in one go
EVERY: Final = 10.0  # s between turns, if langgraph.json says nothing else
MOST: Final = 1000  # threads dealt with in one turn, likewise


async def run_once(
    redis: Client,
    saver: BaseCheckpointSaver[Any] | None = None,
    *,
    every: float = EVERY,
    most: int = MOST,
) -> int:
    """Has its turn, if no other worker has it; returns how many threads it dealt with.

    Args:
        saver: where checkpoints lie, if not where Millstream keeps them.
        every: s until the next turn, of whichever worker.
        most: threads to deal with in this one; those that are longest due go first.
    """
    if not await repair.take_leader_lock(redis, "expiry", every=every):
        return 0
    done = 0
    while done < most:
        batch = min(BATCH, most - done)
        part = await threads.expire(redis, limit=batch, prune=_pruner(saver))
        done += part
        if part < batch:
            break
    if done:
        log.info("%d threads were at the end of their time", done)
    return done


def _pruner(saver: BaseCheckpointSaver[Any] | None) -> threads.Pruner | None:
    """Returns what prunes a thread whose checkpoints another saver keeps."""
    if saver is None or isinstance(saver, FencedSaver):
        return None

    async def prune(thread_id: str) -> None:
        try:
            await saver.aprune([thread_id], strategy="keep_latest")
        except NotImplementedError:
            log.warning(
                "thread %s keeps all its checkpoints: its checkpointer can't prune", thread_id
            )

    return prune
