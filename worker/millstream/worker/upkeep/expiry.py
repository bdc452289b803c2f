"""Deletes or prunes the threads whose `ttl` is over. Of all workers, one has its turn at a time."""

import logging
from typing import Final

from millstream.shared import repair, threads
from millstream.shared.redis import Client

log = logging.getLogger(__name__)

BATCH: Final = 100  # threads looked at in one go
EVERY: Final = 10.0  # s between turns


async def run_once(redis: Client, *, every: float = EVERY) -> int:
    """Has its turn, if no other worker has it; returns how many threads it dealt with."""
    if not await repair.take_turn(redis, "expiry", every=every):
        return 0
    done = part = await threads.expire(redis, most=BATCH)
    while part == BATCH:  # there may be more
        part = await threads.expire(redis, most=BATCH)
        done += part
    if done:
        log.info("%d threads were at the end of their time", done)
    return done
