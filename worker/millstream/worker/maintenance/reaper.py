"""The reaper: repairs runs and threads that are stuck. One worker at a time does it.

It takes no run from a worker that is alive. A claim takes over a lapsed lease, as its run is due in the queue. The
reaper repairs what no claim would reach: see shared/repair.py.
"""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from millstream.shared import repair
from millstream.shared.redis import OUTAGE_ERRORS, Client
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)

FORGET_QUEUES_EVERY: Final = 60.0  # s
MAX_SHARE: Final = 0.05  # of its time in which a reaper may work


async def run_once(redis: Client, settings: Settings) -> int:
    """Repairs unless another worker does. Returns the number of repairs.

    It checks all pending and running runs, and all threads in small parts.
    """
    policy = settings.lease_policy
    if not await repair.take_leader_lock(redis, "reaper", every=policy.reap_every):
        return 0
    begun = time.monotonic()
    ttl = settings.stream_ttl
    done: Counter[str] = Counter()
    repairs: list[Callable[[], Awaitable[Counter[str]]]] = [
        lambda: repair.repair_runs(redis, lease_ms=policy.lease_ms, stream_ttl=ttl),
        lambda: repair.repair_backlogs(redis, lease_ms=policy.lease_ms, stream_ttl=ttl),
        lambda: repair.repair_identities(redis),
        lambda: repair.repair_threads(redis),
        lambda: repair.finish_deletions(redis, stream_ttl=ttl),
    ]
    for one_repair in repairs:
        try:
            done += await one_repair()
        except OUTAGE_ERRORS:
            raise
        except Exception:  # the other repairs must still be done
            log.exception("a repair of the reaper failed")
    if await repair.take_leader_lock(redis, "queues", every=FORGET_QUEUES_EVERY):
        await repair.forget_queues(redis)
    took = time.monotonic() - begun
    if took > MAX_SHARE * policy.reap_every:
        await repair.postpone_leader_lock(redis, "reaper", by=took / MAX_SHARE)
    if done:
        log.warning("repaired %s", ", ".join(f"{count} {kind}" for kind, count in done.items()))
    return done.total()
