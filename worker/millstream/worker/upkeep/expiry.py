"""Deletes or prunes the threads whose `ttl` is over. Of all workers, one has its turn at a time."""

import logging
from typing import Final

from millstream.shared import repair, threads
from millstream.shared.redis import Client

log = logging.getLogger(__name__)

BATCH: Final = 100  # threads looked at in one go
EVERY: Final = 10.0  # s between turns, if langgraph.json says nothing else
MOST: Final = 1000  # threads dealt with in one turn, likewise


async def run_once(redis: Client, *, every: float = EVERY, most: int = MOST) -> int:
    """Has its turn, if no other worker has it; returns how many threads it dealt with.

    Args:
        every: s until the next turn, of whichever worker.
        most: threads to deal with in this one; those that are longest due go first.
    """
    if not await repair.take_turn(redis, "expiry", every=every):
        return 0
    done = 0
    while done < most:
        batch = min(BATCH, most - done)
        part = await threads.expire(redis, most=batch)
        done += part
        if part < batch:
            break
    if done:
        log.info("%d threads were at the end of their time", done)
    return done
