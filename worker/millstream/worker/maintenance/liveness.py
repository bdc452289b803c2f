"""Announces that this worker is alive, and which calls it executes."""

import logging
from collections.abc import Sequence
from typing import Final

from millstream.shared import queue
from millstream.shared.permissions import PermissionMonitor
from millstream.shared.redis import OUTAGE_ERRORS, Client

log = logging.getLogger(__name__)

EVERY: Final = 2.0  # s between reports
TTL: Final = 3 * EVERY  # s for which one report is valid


class Liveness:
    """The reports of one worker."""

    def __init__(
        self, redis: Client, worker_id: str, queues: Sequence[str], access: PermissionMonitor
    ) -> None:
        """`queues` are the keys of the call queues that the worker reads."""
        self._redis = redis
        self._worker_id = worker_id
        self._queues = list(queues)
        self._access = access

    async def run_once(self) -> None:
        """Reports that the worker is alive, or gone while its Redis user lacks a permission."""
        if self._access.denied:
            await queue.report_gone(self._redis, self._queues, self._worker_id)
        else:
            await queue.report_alive(self._redis, self._queues, self._worker_id, ttl=TTL)

    async def leave(self) -> None:
        """Reports that the worker ends, if Redis answers."""
        try:
            await queue.report_gone(self._redis, self._queues, self._worker_id)
        except OUTAGE_ERRORS as error:
            log.warning(
                "Redis is unavailable, so this worker can't report its end. It counts as alive for up to %g s: %s",
                TTL,
                error,
            )
