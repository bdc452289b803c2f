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
        self,
        redis: Client,
        worker_id: str,
        call_queues: Sequence[str],
        run_queue: str,
        access: PermissionMonitor,
    ) -> None:
        """`call_queues` are the names of the call queues that the worker reads, `run_queue` that of its runs."""
        self._redis = redis
        self._worker_id = worker_id
        self._call_queues = list(call_queues)
        self._run_queue = run_queue
        self._access = access

    async def run_once(self) -> None:
        """Reports that the worker is alive, or gone while its Redis user lacks a permission."""
        if self._access.denied:
            await self._report_gone()
        else:
            await queue.report_alive(self._redis, self._call_queues, self._worker_id, ttl=TTL)
            await queue.report_serving(self._redis, self._run_queue, self._worker_id, ttl=TTL)

    async def _report_gone(self) -> None:
        await queue.report_gone(self._redis, self._call_queues, self._worker_id)
        await queue.report_left(self._redis, self._run_queue, self._worker_id)

    async def leave(self) -> None:
        """Reports that the worker ends, if Redis answers."""
        try:
            await self._report_gone()
        except OUTAGE_ERRORS as error:
            log.warning(
                "Redis is unavailable, so this worker can't report its end. It counts as alive for up to %g s: %s",
                TTL,
                error,
            )
