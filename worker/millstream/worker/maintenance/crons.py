"""Fires the crons that are due. One worker at a time does it.

The lock only saves work: a script fires each due time once, over any number of workers (fire_cron.lua). A worker
that dies meanwhile leaves the rest to the next round.
"""

import logging
from typing import Final

from millstream.shared import crons, repair
from millstream.shared.assistants import GraphDirectory
from millstream.shared.crons import CronContext
from millstream.shared.redis import Client
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)

EVERY: Final = 1.0  # s between rounds
BATCH: Final = 200  # crons fired in one go
AT_ONCE: Final = 20  # of them at the same time
ORPHANS: Final = 60.0  # s between searches for crons whose thread was deleted
MOVED_ON: Final = (
    "admitted",
    "busy",
    "over",
    "disabled",
    "missing",
)  # results after which a cron is not due


async def run_once(
    redis: Client, directory: GraphDirectory, settings: Settings, *, every: float = EVERY
) -> int:
    """Fires what is due, unless another worker does; returns how many runs it admitted."""
    if not await repair.take_leader_lock(redis, "crons", every=every):
        return 0
    firing = CronContext(redis, directory, settings.max_live, settings.stream_ttl)
    fired = 0
    while True:
        done = await crons.fire_due(firing, limit=BATCH, at_once=AT_ONCE)
        fired += done["admitted"]
        if done["full"]:
            log.warning("crons wait: QUEUE_MAX_DEPTH runs are alive")
        # After a full batch more may be due. One in which no cron moved on would be the same again.
        if done.total() < BATCH or done["full"] or not any(done[result] for result in MOVED_ON):
            break
    if await repair.take_leader_lock(redis, "orphans", every=ORPHANS):
        dropped = await crons.drop_orphans(redis)
        if dropped:
            log.info("%d crons went with their threads", dropped)
    return fired
