"""The reaper: puts right what is stuck. Of all workers, one has its turn at a time.

It takes nothing from a worker that is alive: a lapsed lease is taken over by the claim, which any
worker finds in the queue. This is for what no claim would ever find (see shared/repair.py).
"""

import logging

from millstream.shared import repair
from millstream.shared.redis import Client
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)


class Reaper:
    """Looks at all live runs in each turn, and at all threads little by little."""

    def __init__(self, redis: Client, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._cursor = 0

    async def run_once(self) -> int:
        """Has its turn, if no other worker has it; returns how much was put right."""
        redis, settings = self._redis, self._settings
        if not await repair.take_turn(redis, "reaper", every=settings.lease):
            return 0
        ttl = settings.stream_ttl
        lease_ms = int(settings.lease * 1000)
        done = await repair.repair_runs(redis, lease_ms=lease_ms, stream_ttl=ttl)
        self._cursor, threads = await repair.repair_threads(redis, self._cursor)
        done += threads
        done += await repair.finish_deletions(redis, stream_ttl=ttl)
        if done:
            log.warning(
                "put right what was stuck: %s", ", ".join(f"{n} {word}" for word, n in done.items())
            )
        return done.total()
