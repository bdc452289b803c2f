"""Leases are renewed, and cancels heard of, in a thread of its own.

Code in a graph that blocks the event loop can't lose a lease that way. The thread has its own
connections; it listens to the worker's control channel and renews every third of a lease.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from millstream.shared import keys
from millstream.shared.redis import OutageLog, connect_sync
from millstream.shared.rules.lease_policy import LeasePolicy
from millstream.shared.scripts import Claim
from millstream.shared.scripts.runs.renew import renew_all
from millstream.worker.leases.availability import RedisAvailability
from millstream.worker.stop_reason import StopReason

log = logging.getLogger(__name__)

Stop = Callable[[StopReason], object]
PAUSE: Final = 0.2  # s between attempts while Redis is away


class Heartbeat:
    """The leases that a worker process holds."""

    def __init__(
        self, url: str, worker_id: str, availability: RedisAvailability, policy: LeasePolicy
    ) -> None:
        """`url` is REDIS_URL. The thread starts with `start()`."""
        self._redis = connect_sync(url, reply_timeout=policy.reply_timeout)
        self._availability = availability
        self._control = keys.control(worker_id)
        self._policy = policy
        self._held: dict[str, tuple[Claim, Stop]] = {}
        self._renewed: dict[str, float] = {}  # job → monotonic time of the last renewal
        self._until: dict[str, float] = {}  # job → monotonic time of the end of all renewals
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._beats = 0
        self._outages = OutageLog(log, "The heartbeat, which renews the leases")
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; leases that are still held run out."""
        self._stopping.set()
        self._thread.join(timeout=2)
        if not self._thread.is_alive():  # else it may hold what closing needs
            self._redis.close()

    async def watch(self) -> None:
        """Returns once the thread stands still: its worker would lose each run that it takes."""
        beats, still = -1, 0
        while still < 2:  # twice, as code that holds the interpreter's lock may have stopped both
            await asyncio.sleep(self._policy.stalled_after)
            still = still + 1 if self._beats == beats else 0
            beats = self._beats
        log.error("The heartbeat stands still, so no lease can be renewed.")

    def hold(self, claim: Claim, stop: Stop, *, since: float, at_most: float) -> None:
        """Renews the lease from now on. `stop` is called in this thread: when the lease is lost, or when
        a cancel was asked for (once or more).

        Args:
            since: monotonic time before which the lease can't have begun.
            at_most: seconds for which it is renewed. Code that blocks the event loop stops
                everything but this thread: without an end it would hold all runs for ever.
        """
        with self._lock:
            self._held[claim.job] = (claim, stop)
            self._renewed[claim.job] = since
            self._until[claim.job] = since + at_most

    def release(self, claim: Claim) -> None:
        """Stops renewing the lease."""
        with self._lock:
            held = self._held.get(claim.job)
            if held is not None and held[0].fence == claim.fence:
                del self._held[claim.job], self._renewed[claim.job], self._until[claim.job]

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._beats += 1
            try:
                self._renew(None)  # first of all: Redis may have been away for most of the lease
                # Closed here, not when it is collected: redis-py takes the pool's lock for that, and if
                # the collector comes while this thread holds it, the thread waits for itself.
                with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
                    self._listen(pubsub)
            except Exception as error:  # noqa: BLE001 - it is logged
                self._outages.failed(error)
                self._availability.mark_down()
                self._give_up_lapsed()
                self._stopping.wait(PAUSE)

    def _listen(self, pubsub: Any) -> None:
        """Renews in time, and at once what somebody asks for on the worker's channel."""
        pubsub.subscribe(self._control)
        due = time.monotonic()  # a cancel may have been published meanwhile
        while not self._stopping.is_set():
            self._beats += 1
            if time.monotonic() >= due:
                due = time.monotonic() + self._policy.renew_every
                self._renew(None)
            self._outages.recovered()
            message = pubsub.get_message(timeout=max(0.01, min(0.5, due - time.monotonic())))
            if message is not None:
                self._renew(message["data"].decode())

    def _renew(self, job: str | None) -> None:
        """Renews one lease, or all."""
        now = time.monotonic()
        with self._lock:
            held = [h for j, h in self._held.items() if job in (None, j) and now < self._until[j]]
        if not held:
            return
        asked = time.monotonic()
        renewals = renew_all(self._redis, [claim for claim, _ in held], self._policy.lease_ms)
        self._availability.mark_up()
        for (claim, stop), renewal in zip(held, renewals, strict=True):
            if renewal != "lost":
                with self._lock:
                    if claim.job in self._renewed:
                        self._renewed[claim.job] = asked
            if renewal != "held":
                stop(StopReason.LOST if renewal == "lost" else StopReason.CANCELLED)

    def _give_up_lapsed(self) -> None:
        """Tells of the leases that nobody could renew in time."""
        now = time.monotonic()
        with self._lock:
            lapsed = [
                self._held[j] for j, at in self._renewed.items() if now - at > self._policy.lease
            ]
        for _, stop in lapsed:
            stop(StopReason.LAPSED)
