"""Renews the leases of a worker and learns of cancels, on an event loop in a thread of its own.

Code of a graph that blocks the worker's event loop loses no lease: this thread has its own loop, its own
connections and no lock that it shares. It listens to the worker's control channel, where cancels are published.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from redis.exceptions import TimeoutError as RedisTimeoutError

from millstream.shared import keys
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.redis import OutageLog, connect
from millstream.shared.redis.subscriber import Subscriber
from millstream.shared.rules.lease_policy import LeasePolicy
from millstream.shared.scripts import Claim
from millstream.shared.scripts.runs.renew import renew_all
from millstream.worker.leases.availability import RedisAvailability
from millstream.worker.leases.thread_loop import ThreadLoop
from millstream.worker.stop_reason import StopReason

log = logging.getLogger(__name__)

Stop = Callable[[StopReason], object]
Result = TypeVar("Result")
STOP_SECONDS: Final = 2.0  # in which the thread must end
MAX_WAITS: Final = 3  # for one reply, while code holds the interpreter's lock
LATE_SECONDS: Final = 0.1  # a wait that ends this long after its timeout was blocked


@dataclass(slots=True, eq=False)
class _Lease:
    """A lease that this worker holds. The times are monotonic."""

    claim: Claim
    stop: Stop
    renewed: float  # when the latest renewal that succeeded was sent
    until: float  # the end of all renewals


class Heartbeat:
    """Renews the leases of a worker process.

    The worker's event loop adds and removes leases, and this thread reads them. Each of these steps is one operation
    on a dict, which is atomic in Python, so there is no lock for which either could wait.
    """

    def __init__(
        self,
        url: str,
        worker_id: str,
        availability: RedisAvailability,
        policy: LeasePolicy,
        observer: RunObserver = UNOBSERVED,
    ) -> None:
        """`url` is REDIS_URL. The thread starts with `start()`.

        Raises SettingError for a URL that can't be used.
        """
        # No timeout for replies: see `_reply`. No repeats: an outage must be noticed, however short.
        self._redis = connect(url, connections=2, reply_timeout=None, repeats=0)
        self._subscriber = Subscriber(
            self._redis,
            self._on_message,
            name="The heartbeat's channel of cancels",
            on_lost=self._on_lost,
        )
        self._availability = availability
        self._control = keys.control(worker_id)
        self._policy = policy
        self._observer = observer
        self._leases: dict[str, _Lease] = {}  # by job
        self._requested: set[str] = set()  # jobs whose cancels were published
        self._due = -math.inf  # monotonic time of the next renewal of all leases
        self._is_connected = False  # whether the latest call succeeded
        self._wake = asyncio.Event()
        self._beats = 0
        self._outages = OutageLog(log, "The heartbeat, which renews the leases")
        self._stopped = asyncio.Event()
        self._runner = asyncio.Runner(loop_factory=ThreadLoop)
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._runner.get_loop()  # creates the loop, which `stop` needs
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. Returns after STOP_SECONDS at the latest. Leases that are still held lapse."""
        with suppress(RuntimeError):  # the loop is closed, as the thread has ended before
            self._runner.get_loop().call_soon_threadsafe(self._stopped.set)
        self._thread.join(timeout=STOP_SECONDS)

    async def watch(self) -> None:
        """Returns once the thread has stalled: its worker would lose every run that it claims."""
        beats, stalls = -1, 0
        # Twice, as code that holds the interpreter's lock may have stopped both threads.
        while stalls < 2:
            await asyncio.sleep(self._policy.stalled_after)
            stalls = stalls + 1 if self._beats == beats else 0
            beats = self._beats
        log.error("the heartbeat has stalled, so no lease can be renewed")

    def hold(self, claim: Claim, stop: Stop, *, since: float, max_seconds: float) -> None:
        """Renews the lease from now on.

        Args:
            claim: the claim of the run.
            stop: called in the heartbeat's thread, once or more, when the lease is lost or a cancel was requested.
            since: the monotonic time before which the lease can't have begun.
            max_seconds: the time for which the lease is renewed (LeasePolicy.renewed_for).
        """
        self._leases[claim.job] = _Lease(claim, stop, renewed=since, until=since + max_seconds)

    def release(self, claim: Claim) -> None:
        """Stops renewing the lease."""
        lease = self._leases.get(claim.job)
        if lease is not None and lease.claim.fence == claim.fence:
            del self._leases[claim.job]

    # ── In the thread ───────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        """Returns after `stop()`."""
        await self._subscriber.listen(self._control)
        listening = asyncio.create_task(self._subscriber.run())
        renewing = asyncio.create_task(self._renew_in_time())
        try:
            await self._stopped.wait()
        finally:
            for task in (listening, renewing):
                task.cancel()
            await asyncio.wait({listening, renewing})
            await self._redis.aclose()

    async def _renew_in_time(self) -> None:
        while True:
            self._beats += 1
            self._wake.clear()
            await self._beat()

    async def _beat(self) -> None:
        """Renews the leases that are due, then waits until the next one is."""
        now = time.monotonic()
        requested, self._requested = self._requested, set()
        try:
            if now >= self._due:
                late = now - self._due if math.isfinite(self._due) else 0.0
                self._due = now + self._policy.renew_every
                if leases := list(self._leases.values()):
                    await self._renew(leases, late)
                    await self._subscriber.check()
            elif requested:
                await self._renew(
                    [lease for lease in list(self._leases.values()) if lease.claim.job in requested]
                )
            self._outages.recovered()
        except Exception as error:  # noqa: BLE001 - it is logged
            self._is_connected = False
            self._due = -math.inf  # renew all leases as soon as Redis answers
            self._availability.mark_down()
            self._stop_lapsed()
            await self._outages.wait_after(error)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._due - time.monotonic())):
                    await self._wake.wait()

    def _on_message(self, _: str, confirmed: bool, data: bytes) -> None:
        """Called for a job whose cancel was published, and once the subscription is confirmed."""
        if confirmed:  # a cancel may have been published before the subscription
            self._due = -math.inf
        else:
            self._requested.add(data.decode())
        self._wake.set()

    def _on_lost(self) -> None:
        """Called when the connection of the subscription breaks."""
        self._availability.mark_down()
        self._due = -math.inf
        self._wake.set()

    async def _renew(self, leases: Collection[_Lease], late: float = 0.0) -> None:
        now = time.monotonic()
        held = [lease for lease in leases if now < lease.until]
        if not held:
            return
        if not self._is_connected:
            await self._connect()
        sent = time.monotonic()
        claims = [lease.claim for lease in held]
        renewals = await self._reply(renew_all(self._redis, claims, self._policy.lease_ms))
        self._is_connected = True
        self._availability.mark_up()
        self._observer.renewed(sum(renewal != "lost" for renewal in renewals), late)
        for lease, renewal in zip(held, renewals, strict=True):
            if renewal != "lost":
                lease.renewed = sent
            if renewal != "held":
                lease.stop(StopReason.LOST if renewal == "lost" else StopReason.CANCELLED)

    async def _connect(self) -> None:
        """Opens a connection, which may take all timeouts of names, Sentinels and greetings. Stops runs whose leases
        lapse meanwhile."""
        pool = self._redis.connection_pool
        opening = asyncio.ensure_future(pool.get_connection())
        try:
            while True:
                await asyncio.wait({opening}, timeout=self._policy.reply_timeout)
                if opening.done():
                    break
                self._stop_lapsed()
        finally:
            opening.cancel()  # no effect once it has ended
            await asyncio.wait({opening})
        await pool.release(opening.result())

    async def _reply(self, call: Awaitable[Result]) -> Result:
        """Returns the reply to a call; raises redis-py's TimeoutError if it does not arrive in time.

        If code has held the interpreter's lock, a wait ends late. The reply may have arrived by then, so such a wait
        does not count.
        """
        timeout = self._policy.reply_timeout
        calling = asyncio.ensure_future(call)
        try:
            for _ in range(MAX_WAITS):
                end = time.monotonic() + timeout
                await asyncio.wait({calling}, timeout=timeout)
                if calling.done():
                    return calling.result()
                if time.monotonic() - end < LATE_SECONDS:
                    break
        finally:
            if not calling.done():
                calling.cancel()
                await asyncio.wait({calling})  # frees its connection
        raise RedisTimeoutError(f"no reply within {timeout:g} s")

    def _stop_lapsed(self) -> None:
        """Stops the runs whose leases could not be renewed in time."""
        now = time.monotonic()
        for lease in list(self._leases.values()):
            if now - lease.renewed > self._policy.lease:
                lease.stop(StopReason.LAPSED)
