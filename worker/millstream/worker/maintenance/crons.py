"""Fires the crons that are due. One worker at a time does it.

The lock only saves work: fire_cron.lua fires each due time once, for any number of workers. If a worker dies in a
round, the next round fires the rest.
"""

import logging
from typing import Final

from millstream.shared import crons, repair
from millstream.shared.access import Authorizer
from millstream.shared.assistants import GraphDirectory
from millstream.shared.crons import CronContext
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.redis import Client
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import UNTRACED, RunTracer

log = logging.getLogger(__name__)

EVERY: Final = 1.0  # s between rounds
BATCH: Final = 200  # crons per batch
MAX_CONCURRENT: Final = 20  # crons of a batch that are fired at the same time
ORPHANS_EVERY: Final = 60.0  # s between searches for crons whose thread was deleted
# Results after which a cron is no longer due.
NOT_DUE: Final = ("admitted", "busy", "over", "denied", "disabled", "missing")


async def run_once(
    redis: Client,
    directory: GraphDirectory,
    settings: Settings,
    tracer: RunTracer = UNTRACED,
    observer: RunObserver = UNOBSERVED,
    *,
    authorizer: Authorizer | None = None,
    every: float = EVERY,
) -> int:
    """Fires all due crons unless another worker does. Returns the number of runs that it admitted.

    `authorizer` decides again, for the creator of each cron, what the creation of the cron was permitted for.
    """
    if not await repair.take_leader_lock(redis, "crons", every=every):
        return 0
    context = CronContext(
        redis,
        directory,
        settings.admission_limits,
        settings.stream_ttl,
        tracer,
        observer,
        authorizer,
    )
    fired = 0
    while True:
        results = await crons.fire_due(context, limit=BATCH, at_once=MAX_CONCURRENT)
        fired += results["admitted"]
        if results["full"]:
            log.warning("crons wait: there are QUEUE_MAX_DEPTH pending and running runs")
        # After a full batch more may be due, unless all of its crons still are: the next would be the same.
        is_full = results.total() >= BATCH
        if not is_full or results["full"] or not any(results[name] for name in NOT_DUE):
            break
    if await repair.take_leader_lock(redis, "orphans", every=ORPHANS_EVERY):
        dropped = await repair.drop_orphaned_crons(redis)
        if dropped:
            log.info("deleted %d crons whose threads were deleted", dropped)
    return fired
