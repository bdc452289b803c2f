"""Reports that this worker works, what it executes, which calls it reads, and in which queues it offers its graphs."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from millstream.shared import scripts, workers
from millstream.shared.permissions import PermissionMonitor
from millstream.shared.queue import redis_time
from millstream.shared.redis import OUTAGE_ERRORS, Client
from millstream.shared.wire import SlotRecord, WorkerRecord
from millstream.worker.dispatch import Activity

log = logging.getLogger(__name__)

EVERY: Final = 2.0  # s between reports
TTL: Final = 3 * EVERY  # s for which one report is valid
MICROS: Final = 1_000_000


def _idle() -> Activity:
    return Activity([], draining=False)


class Liveness:
    """The reports of one worker."""

    def __init__(
        self,
        redis: Client,
        worker: WorkerRecord,
        call_queues: Sequence[str],
        declared: Mapping[str, str | None],
        access: PermissionMonitor,
    ) -> None:
        """Reports nothing yet.

        Args:
            redis: the client.
            worker: the constant part of the record.
            call_queues: those that the worker reads.
            declared: graph id → the queue that langgraph.json declares for it, or None.
            access: whether the worker may work.
        """
        self._redis = redis
        self._worker = worker
        self._call_queues = list(call_queues)
        self._declared = declared
        self._access = access
        self._activity: Callable[[], Activity] = _idle
        self._started_at: int | None = None  # µs, Redis time
        self._draining_since: int | None = None  # µs

    def follow(self, activity: Callable[[], Activity]) -> None:
        """Reports from now on what the function returns; before, the worker executes nothing."""
        self._activity = activity

    async def run_once(self) -> None:
        """Reports that the worker works, or gone while its Redis user lacks a permission."""
        if self._access.denied:
            await workers.leave(self._redis, self._worker, self._call_queues)
            return
        now = await redis_time(self._redis)
        await workers.report(self._redis, self._record(now), self._call_queues, now=now, ttl=TTL)
        if not self._draining_since:
            await scripts.offer_graphs(self._redis, self._worker.queues, self._declared)

    def _record(self, now: float) -> WorkerRecord:
        """Returns the record at `now` (s, Redis time)."""
        activity, monotonic = self._activity(), time.monotonic()
        now_us = int(now * MICROS)
        if self._started_at is None:
            self._started_at = now_us
        if activity.draining and self._draining_since is None:
            self._draining_since = now_us
        return msgspec.structs.replace(
            self._worker,
            runs=[
                SlotRecord(
                    thread_id=slot.claim.spec.thread_id,
                    run_id=slot.claim.spec.run_id,
                    graph_id=slot.claim.spec.graph_id,
                    attempt=slot.claim.attempt,
                    since=now_us - int((monotonic - slot.since) * MICROS),
                    isolation=slot.level.name.lower(),
                )
                for slot in activity.slots
            ],
            started_at=self._started_at,
            draining_since=self._draining_since,
            reported_at=now_us,
        )

    async def report_drain(self) -> None:
        """Reports at once that the worker drains. Raises nothing: the next report says so too."""
        try:
            async with asyncio.timeout(TTL):
                await self.run_once()
        except Exception as error:  # noqa: BLE001 - it is logged
            log.warning("this worker can't report that it drains: %s", error)

    async def leave(self) -> None:
        """Reports that the worker ends, if Redis answers."""
        try:
            await workers.leave(self._redis, self._worker, self._call_queues)
        except OUTAGE_ERRORS as error:
            log.warning(
                "Redis is unavailable, so this worker can't report its end. It counts as alive for up to %g s: %s",
                TTL,
                error,
            )
