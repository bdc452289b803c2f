"""The dispatch of runs: arq's worker, changed to serve several queues, wait for wake-ups and claim runs by script.

It overrides and uses only public names of arq. arq's scan of the queue is off (`allow_pick_jobs`): it would read every
run that other workers execute, and compare scores with this machine's clock. A script finds due runs instead, by
Redis' clock.
"""

import asyncio
import logging
import math
import os
import time
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple

from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import NoPermissionError

from millstream.shared import keys, logs, queue, scripts
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

HAND_BACK_SECONDS: Final = 10.0  # in which runs are handed back; after it, their leases lapse
ROOM_GRACE: Final = 30.0  # s in which other runs may end before a run is executed alone
FOREVER: Final = 10 * 365 * 86400  # s, for arq's time limit; attempts enforce their own


@dataclass(frozen=True, slots=True)
class Slot:
    """A run that a worker executes."""

    claim: Claim
    since: float  # monotonic time right before the claim
    level: Level


@dataclass(frozen=True, slots=True)
class Activity:
    """What a worker does now."""

    slots: list[Slot]
    draining: bool


class DueJob(NamedTuple):
    """A job to claim, and the name of its queue."""

    job: str
    queue: str


class RunWorker(Worker):
    """Claims the runs of its queues and executes them, at most `settings.jobs_per_worker` at a time.

    The queues share the slots. Each search and each wait begins with the queue after the one whose job was tried last,
    so that no queue keeps the worker from the others.
    """

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
            queue_name=keys.queue(settings.queues[0]),
            redis_pool=ArqRedis(redis.connection_pool),
            health_check_key=keys.health(settings.queues[0]),
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
        self._claims: dict[str, tuple[Claim, float]] = {}  # and the time at which it was sent
        self._claiming: set[asyncio.Task[None]] = set()
        self._unanswered: dict[DueJob, str] = {}  # → token of a claim that got no reply
        self._queues = settings.queues  # rotated: the next to search is the first
        self._handing_back = False
        self._attempts: dict[str, Attempt] = {}
        self._draining = False
        self._claim_count = 0  # for the claims' tokens
        self._next_scan = 0.0
        self._slot_free = asyncio.Event()
        self._alone: str | None = None  # the job that is executed while no other is

    async def serve(self) -> None:
        """Works until `drain()`; continues after each outage of Redis."""
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
                # If nothing cancels this task, the project's code has raised the error.
                task = asyncio.current_task()
                if not self._draining and task is not None and task.cancelling():
                    raise
            except Exception as error:  # noqa: BLE001 - it is logged
                await self._outages.wait_after(error)

    async def main(self) -> None:
        """Called by arq's `async_run`: executes rounds until it is cancelled.

        arq's own `main` begins with INFO and DBSIZE for its log, which many Redis users may not send.
        """
        while True:
            for job_id, task in list(self.tasks.items()):
                if task.done():
                    del self.tasks[job_id]
                    task.result()
            await self.heart_beat()

    def _on_reply(self, expected: float) -> None:
        """Reports that Redis is available. A reply that is late means that Redis has stood still."""
        if self.loop.time() - expected > self._policy.late_after:
            self._context.availability.mark_down()
        self._context.availability.mark_up()
        self._outages.recovered()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Claims no more runs, waits for its runs for a grace period, and hands back the rest.

        `hurry` ends the grace period.
        """
        self._draining = True
        self._context.observer.draining()
        if self.main_task is not None:
            self.main_task.cancel()
        if self._claiming:  # a claim in progress may succeed
            await asyncio.wait(self._claiming, timeout=HAND_BACK_SECONDS)
        hurried = asyncio.create_task(hurry.wait())
        grace = self._settings.drain_grace
        if grace and self._count_running():
            log.warning(
                "%d runs continue for up to %g s; the worker claims no more",
                self._count_running(),
                grace,
            )
            ended = asyncio.create_task(self._wait_for_runs())
            await asyncio.wait({hurried, ended}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
        hurried.cancel()
        self._handing_back = True
        for attempt in list(self._attempts.values()):
            attempt.stop(StopReason.DRAIN)
        try:
            await asyncio.wait_for(self._wait_for_runs(), HAND_BACK_SECONDS)
        except TimeoutError:
            log.warning("Redis does not answer: %d leases will lapse", self._count_running())

    def _count_running(self) -> int:
        return sum(not task.done() for task in self.tasks.values())

    async def _wait_for_runs(self) -> None:
        while running := [task for task in self.tasks.values() if not task.done()]:
            await asyncio.wait(running)

    def activity(self) -> Activity:
        """Returns what the worker does now."""
        claims = [(attempt.claim, attempt.since) for attempt in self._attempts.values()]
        slots = [
            Slot(claim, since, self._level(claim))
            for claim, since in [*claims, *self._claims.values()]
        ]
        return Activity(slots, self._draining)

    @property
    def _is_full(self) -> bool:
        """Whether the worker may claim no run now."""
        return self.job_counter >= self.max_jobs or self._alone is not None

    async def heart_beat(self) -> None:
        """Executes one round: waits for a due run and claims it."""
        # Without the permission to publish, say, a claimed run could not be cancelled.
        await self._access.wait_until_allowed()
        await super().heart_beat()
        if self._is_full:
            # A full worker must not take a wake-up from an idle one.
            self._slot_free.clear()
            await self._slot_free.wait()
            self._next_scan = 0.0
            return
        if self._unanswered:
            await self._start(list(self._unanswered))
        now = self.loop.time()
        if now >= self._next_scan:
            free = self.max_jobs - self.job_counter
            replies = await scripts.tag_due_in(self._redis, self._queues, free)
            self._on_reply(now)
            due = take_turns(
                [
                    [DueJob(job, name) for job in jobs if not self._is_executing(job)]
                    for name, (jobs, _) in zip(self._queues, replies, strict=True)
                ],
                free,
            )
            await self._start(due)
            every = self._policy.look_every
            later = [seconds for _, seconds in replies if seconds is not None]
            wait = 0.0 if len(due) == free else min(every, *later) if later else every
            self._next_scan = self.loop.time() + wait
            return
        woken = await queue.wait_for_wake(self._blocking, self._queues, self._next_scan - now)
        self._on_reply(self._next_scan)
        if woken is not None:
            # Only if it is the next one: wake-ups are in the order of admissions, not of shares.
            await self._start([DueJob(*woken)], slots=1)
            if not self._is_executing(woken[0]):
                self._next_scan = 0.0  # other runs may precede it (parts/fair_queue.lua)

    def _is_executing(self, job: str) -> bool:
        return job in self.tasks and not self.tasks[job].done()

    async def _start(self, due: list[DueJob], slots: int | None = None) -> None:
        """Claims each job, and starts the claimed ones. `slots` is the highest rank that a job may have.

        By default, all free slots: a search returns the jobs in their order.
        """
        for each in due:
            if self._draining or self._is_full:
                return
            if keys.decode_job_id(os.fsencode(each.job)) is None:
                log.error("removed %r from the queue: it is not the id of a job", each.job)
                await self._redis.zrem(keys.queue(each.queue), os.fsencode(each.job))
                continue
            if self._is_executing(each.job):
                continue
            self._queues = _after(each.queue, self._queues)
            # A task of its own, so that a cancel does not separate a claim from its reply.
            claiming = self.loop.create_task(
                self._claim(each, slots or self.max_jobs - self.job_counter)
            )
            self._claiming.add(claiming)
            claiming.add_done_callback(self._claiming.discard)
            await asyncio.shield(claiming)

    async def _claim(self, due: DueJob, slots: int) -> None:
        """Claims the run, and starts it if the claim succeeds."""
        settings, job = self._settings, due.job
        self._claim_count += 1
        token = self._unanswered.pop(due, f"{self._worker_id}-{self._claim_count}")
        since = time.monotonic()
        try:
            claim = await scripts.claim(
                self._redis,
                job,
                due.queue,
                worker=self._worker_id,
                token=token,
                graphs=self._context.graphs.registry.graph_ids,
                lease_ms=self._policy.lease_ms,
                max_attempts=settings.max_attempts,
                events_ttl=int(settings.job_timeout) + settings.stream_ttl,
                lease_grace_ms=math.ceil(1000 * self._context.availability.lease_grace()),
                slots=slots,
            )
        except UNAVAILABLE:
            self._unanswered[due] = token  # makes the claim repeatable: Redis may have executed it
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
        """Executes a claimed run. arq's own method would read its own record of the job and count its own tries."""
        claim, since = self._claims.pop(job_id)
        logs.begin_run(claim.spec, attempt=claim.attempt)  # in this task alone
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
            self._context.observer.released(claim)

    def _level(self, claim: Claim) -> Level:
        isolated = self._context.graphs.registry.is_isolated(claim.spec.graph_id)
        return level_of(claim, isolated=isolated, max_attempts=self._settings.max_attempts)

    def _execution(self, claim: Claim) -> Execution:
        """Returns the execution of a claimed run, in this process or in another."""
        level = self._level(claim)
        if level is Level.SHARED:
            return GraphRun(claim, self._context.graphs)
        if claim.lapses or claim.crashes:
            log.warning(
                "run %s is executed in its own process%s: so far %d of its leases have lapsed, because a "
                "worker died or stood still, and %d of its own processes have died",
                claim.spec.run_id,
                ", while its worker executes no other run" if level is Level.ALONE else "",
                claim.lapses,
                claim.crashes,
            )
        return ProcessRun(
            claim,
            self._context.processes,
            job_timeout=self._settings.job_timeout,
            tracer=self._context.tracer,
            observer=self._context.observer,
            make_room=partial(self._make_room, claim) if level is Level.ALONE else None,
            unused=needs_unused_process(claim, max_attempts=self._settings.max_attempts),
        )

    async def _make_room(self, claim: Claim) -> None:
        """Waits for the other runs for a grace period, hands back the rest, and marks the run as alone.

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
        """The function that arq requires. Runs are started by `start_jobs` instead."""
        raise RuntimeError("run_job executes runs")


def _after(name: str, queues: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the queues, rotated so that `name` is the last."""
    first = queues.index(name) + 1
    return queues[first:] + queues[:first]


def take_turns(due: list[list[DueJob]], limit: int) -> list[DueJob]:
    """Returns at most `limit` jobs: of each queue the first, then of each the second, and so on."""
    rounds = chain.from_iterable(zip_longest(*due))
    return [each for each in rounds if each is not None][:limit]
