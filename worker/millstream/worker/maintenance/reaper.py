"""The reaper: puts right what is stuck. Of all workers, one has its turn at a time.

It takes nothing from a worker that is alive: a lapsed lease is taken over by the claim, which any
worker finds in the queue. This is for what no claim would ever find (see shared/repair.py).
"""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from millstream.shared import repair
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED, Client
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)


SHARE: Final = 0.05  # of the time, at the most, in which a reaper is at work


async def run_once(redis: Client, settings: Settings) -> int:
    """Has the turn, if no other worker has it; returns how much was put right.

    It looks at all live runs, and at all threads little by little.
    """
    policy = settings.lease_policy
    if not await repair.take_leader_lock(redis, "reaper", every=policy.reap_every):
        return 0
    begun = time.monotonic()
    ttl = settings.stream_ttl
    done: Counter[str] = Counter()
    services: list[Callable[[], Awaitable[Counter[str]]]] = [
        lambda: repair.repair_runs(redis, lease_ms=policy.lease_ms, stream_ttl=ttl),
        lambda: repair.repair_threads(redis),
        lambda: repair.finish_deletions(redis, stream_ttl=ttl),
    ]
    for service in services:
        try:
            done += await service()
        except (*UNAVAILABLE, *WRITES_REJECTED):
            raise
        except Exception:  # the others must not wait for it
            log.exception("a part of the reaper failed")
    took = time.monotonic() - begun
    if took > SHARE * policy.reap_every:
        await repair.postpone_leader_lock(redis, "reaper", by=took / SHARE)
    if done:
        log.warning(
            "put right what was stuck: %s", ", ".join(f"{n} {word}" for word, n in done.items())
        )
    return done.total()
