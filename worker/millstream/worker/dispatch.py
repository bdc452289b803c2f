"""RunWorker: arq's worker, but it waits for a wake-up, claims by script and is fenced at the end.

Only public names of arq are overridden or used. Its scan of the queue is switched off
(`allow_pick_jobs`), as it would walk over every run that is in flight elsewhere, by this
machine's clock; what is due is asked of Redis instead.
"""

import asyncio
import logging
import math
import os
import time
from functools import partial
from typing import Any, Final

from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import NoPermissionError

from millstream.shared import keys, queue, scripts
from millstream.shared.errors import FencedError
from millstream.shared.permissions import PermissionMonitor
from millstream.shared.redis import OUTAGE_ERRORS, UNAVAILABLE, Client, OutageLog
from millstream.shared.redis.retry import retry_while_unavailable
from millstream.shared.scripts import Claim
from millstream.shared.settings import Settings
from millstream.worker.attempt import Attempt, WorkerContext
from millstream.worker.execution import Execution
from millstream.worker.graph_run import GraphRun
from millstream.worker.isolation.level import Level, level_of, needs_unused_process
from millstream.worker.isolation.process_run import ProcessRun
from millstream.worker.stop_reason import StopReason

log = logging.getLogger(__name__)

HAND_BACK: Final = 10.0  # s that handing back may take; after it, leases are left to run out
# s that other runs may go on for when one is to be executed alone.
ROOM_GRACE: Final = 30.0
FOREVER: Final = 10 * 365 * 86400  # s; runs have a time limit of their own


class RunWorker(Worker):
    """Takes runs off one queue and executes them, at most `settings.jobs_per_worker` at a time."""

    def __init__(
        self,
        redis: Client,
        blocking: Client,
        worker_id: str,
        context: WorkerContext,
        settings: Settings,
        access: PermissionMonitor,
    ) -> None:
        """`blocking` is a client whose connections may wait without a timeout."""
        super().__init__(
            [func(self._refuse, name="run")],  # type: ignore[arg-type]
            queue_name=keys.queue(settings.queue),
            redis_pool=ArqRedis(redis.connection_pool),
            health_check_key=keys.health(settings.queue),
            handle_signals=False,
            poll_delay=0,
            max_jobs=settings.jobs_per_worker,
            job_timeout=FOREVER,
            keep_result=0,
        )
        self.allow_pick_jobs = False
        self._redis = redis
        self._blocking = blocking
        self._worker_id: Final = worker_id
        self._context = context
        self._settings = settings
        self._policy = settings.lease_policy
        self._access = access
        self._outages = OutageLog(log, "The dispatch of runs")
        self._claims: dict[str, tuple[Claim, float]] = {}  # and when it was asked for
        self._claiming: set[asyncio.Task[None]] = set()
        self._unanswered: dict[str, str] = {}  # job → token of a claim whose answer did not come
        self._handing_back = False
        self._attempts: dict[str, Attempt] = {}
        self._draining = False
        self._claimed = 0  # names each claim
        self._next_scan = 0.0
        self._slot_free = asyncio.Event()
        self._alone: str | None = None  # the job beside which no other is executed

    async def serve(self) -> None:
        """Works until `drain()`; outlives any outage of Redis."""
        while not self._draining:
            try:
                await self.async_run()
            except OUTAGE_ERRORS as error:
                if isinstance(error, NoPermissionError):
                    self._access.recheck()
                self._context.availability.mark_down()
                self._next_scan = 0.0  # a wake-up may have been lost
                await self._outages.wait_after(error)
            except asyncio.CancelledError:
                # Ours only if somebody cancels this task; else it leaked out of a user's code.
                task = asyncio.current_task()
                if not self._draining and task is not None and task.cancelling():
                    raise
            except Exception as error:  # noqa: BLE001 - it is logged
                await self._outages.wait_after(error)

    async def main(self) -> None:
        """Called by arq's `async_run`: one round after the other.

        arq's own begins with INFO and DBSIZE for its log, which many users of Redis may not send.
        """
        while True:
            for job_id, task in list(self.tasks.items()):
                if task.done():
                    del self.tasks[job_id]
                    task.result()
            await self.heart_beat()

    def _heard(self, expected: float) -> None:
        """Takes note of an answer of Redis; one that comes late says that it stood still."""
        if self.loop.time() - expected > self._policy.late_after:
            self._context.availability.mark_down()
        self._context.availability.mark_up()
        self._outages.recovered()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Takes no more runs; those in flight may end within the grace, then are handed back for
        another worker to go on with. `hurry` ends the grace."""
        self._draining = True
        if self.main_task is not None:
            self.main_task.cancel()
        if self._claiming:  # what is asked for is ours by the time the answer is here
            await asyncio.wait(self._claiming, timeout=HAND_BACK)
        hurried = asyncio.create_task(hurry.wait())
        grace = self._settings.drain_grace
        if grace and self._running():
            log.warning("%d runs go on for up to %g s, no more are taken", self._running(), grace)
            ended = asyncio.create_task(self._wait_for_runs())
            await asyncio.wait({hurried, ended}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
        hurried.cancel()
        self._handing_back = True
        for attempt in list(self._attempts.values()):
            attempt.stop(StopReason.DRAIN)
        try:
            await asyncio.wait_for(self._wait_for_runs(), HAND_BACK)
        except TimeoutError:
            log.warning("Redis does not answer: %d leases are left to run out", self._running())

    def _running(self) -> int:
        return sum(not task.done() for task in self.tasks.values())

    async def _wait_for_runs(self) -> None:
        while running := [task for task in self.tasks.values() if not task.done()]:
            await asyncio.wait(running)

    @property
    def _is_full(self) -> bool:
        """Whether no run may be taken now."""
        return self.job_counter >= self.max_jobs or self._alone is not None

    async def heart_beat(self) -> None:
        """One round: waits until there is a run to claim."""
        # A run that was claimed without the right to publish, say, could not be cancelled.
        await self._access.wait_until_allowed()
        await super().heart_beat()
        if self._is_full:
            # A wake-up that is taken now would be lost for the idle workers.
            self._slot_free.clear()
            await self._slot_free.wait()
            self._next_scan = 0.0
            return
        if self._unanswered:
            await self.start_jobs([os.fsencode(job) for job in list(self._unanswered)])
        now = self.loop.time()
        if now >= self._next_scan:
            free = self.max_jobs - self.job_counter
            due, later = await scripts.find_due(self._redis, self._settings.queue, free)
            self._heard(now)
            others = [job for job in due if job not in self.tasks or self.tasks[job].done()]
            await self.start_jobs([os.fsencode(job) for job in others])
            every = self._policy.look_every
            wait = 0.0 if len(others) == free else every if later is None else min(every, later)
            self._next_scan = self.loop.time() + wait
            return
        job = await queue.wait_for_wake(self._blocking, self._settings.queue, self._next_scan - now)
        self._heard(self._next_scan)
        if job is not None:
            await self.start_jobs([os.fsencode(job)])

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Claims each job, and starts those that could be claimed."""
        for job_id in job_ids:
            if self._draining or self._is_full:
                return
            job = keys.decode_job_id(job_id)
            if job is None:
                log.error("removed %r from the queue: it is not the id of a job", job_id)
                await self._redis.zrem(self.queue_name, job_id)
                continue
            if job in self.tasks and not self.tasks[job].done():
                continue
            # Of its own, so that a stop does not fall between a claim and its answer.
            claiming = self.loop.create_task(self._claim(job))
            self._claiming.add(claiming)
            claiming.add_done_callback(self._claiming.discard)
            await asyncio.shield(claiming)

    async def _claim(self, job: str) -> None:
        """Claims the run, and starts it if it could be claimed."""
        settings = self._settings
        self._claimed += 1
        token = self._unanswered.pop(job, f"{self._worker_id}-{self._claimed}")
        since = time.monotonic()
        try:
            claim = await scripts.claim(
                self._redis,
                job,
                settings.queue,
                control=keys.control(self._worker_id),
                token=token,
                graphs=self._context.graphs.registry.graph_ids,
                lease_ms=self._policy.lease_ms,
                max_attempts=settings.max_attempts,
                events_ttl=int(settings.job_timeout) + settings.stream_ttl,
                lease_grace_ms=math.ceil(1000 * self._context.availability.lease_grace()),
            )
        except UNAVAILABLE:
            self._unanswered[job] = token  # Redis may have heard it: asked again, it is the same
            raise
        if claim is None:
            return
        self._context.observer.claimed(claim, claim.waited_ms)
        if self._level(claim) is Level.ALONE:
            self._alone = job
        await self.sem.acquire()
        self.job_counter += 1
        self._claims[job] = claim, since
        task = self.loop.create_task(self.run_job(job, 0))
        task.add_done_callback(self._job_done)
        self.tasks[job] = task

    async def run_job(self, job_id: str, score: int) -> None:
        """Executes a claimed run. arq's own would read a second record of the job and count its
        tries beside ours."""
        claim, since = self._claims.pop(job_id)
        attempt = self._attempts[job_id] = Attempt(
            claim, self._context, since=since, execution=self._execution(claim)
        )
        if self._handing_back:
            attempt.stop(StopReason.DRAIN)
        try:
            await attempt.execute()
        finally:
            self._attempts.pop(job_id, None)
            self.jobs_complete += 1
            if self._alone == job_id:
                self._alone = None

    def _level(self, claim: Claim) -> Level:
        isolated = self._context.graphs.registry.is_isolated(claim.spec.graph_id)
        return level_of(claim, isolated=isolated, max_attempts=self._settings.max_attempts)

    def _execution(self, claim: Claim) -> Execution:
        """Returns what executes the claimed run: in this process, or in one of its own."""
        level = self._level(claim)
        if level is Level.SHARED:
            return GraphRun(claim, self._context.graphs)
        if claim.lapses or claim.crashes:
            log.warning(
                "Run %s is executed in a process of its own%s: so far %d of its leases have lapsed, as the "
                "worker died or stood still, and %d of its own processes have died.",
                claim.spec.run_id,
                ", with no other run beside it" if level is Level.ALONE else "",
                claim.lapses,
                claim.crashes,
            )
        return ProcessRun(
            claim,
            self._context.processes,
            job_timeout=self._settings.job_timeout,
            make_room=partial(self._make_room, claim) if level is Level.ALONE else None,
            unused=needs_unused_process(claim, max_attempts=self._settings.max_attempts),
        )

    async def _make_room(self, claim: Claim) -> None:
        """Returns once no other run is executed: they may end within a grace, then are handed back.

        Raises FencedError if the lease is lost meanwhile.
        """
        if self._others(claim.job):
            await asyncio.wait(self._others(claim.job), timeout=ROOM_GRACE)
            for job, attempt in list(self._attempts.items()):
                if job != claim.job:
                    attempt.stop(StopReason.DRAIN)
            while others := self._others(claim.job):
                await asyncio.wait(others)
        if not await retry_while_unavailable(
            repr(claim.job), partial(scripts.mark_alone, self._redis, claim)
        ):
            raise FencedError(f"{claim.job} was lost before it could be executed alone")

    def _others(self, job: str) -> list["asyncio.Task[Any]"]:
        return [task for other, task in self.tasks.items() if other != job and not task.done()]

    def _job_done(self, _: "asyncio.Task[Any]") -> None:
        self.job_counter -= 1
        self.sem.release()
        self._slot_free.set()

    @staticmethod
    async def _refuse(_: dict[Any, Any]) -> None:
        """Stands for the function that arq wants to know of; runs are not started through it."""
        raise RuntimeError("runs are executed by run_job")
