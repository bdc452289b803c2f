"""Appends the events of runs to their streams. Each process has one flusher for all of its runs.

In one round trip the flusher appends all events that runs have emitted during the previous one. So under load it sends
few large batches, and when idle it sends each event at once.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from millstream.shared import scripts
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.redis import Client
from millstream.shared.redis.retry import retry_while_unavailable
from millstream.shared.scripts import Batch, Claim
from millstream.worker.encode import encode

log = logging.getLogger(__name__)

OVERHEAD: Final = 64  # bytes of memory that an event takes besides its text
HIGH_WATER: Final = 4 * 1024 * 1024  # unsent bytes of a run above which its graph must wait
# The limits of one call of the script, as Redis executes nothing else meanwhile.
BATCH_BYTES: Final = 1024 * 1024
BATCH_EVENTS: Final = 1000
LOOP_CYCLES: Final = 4  # of the event loop, until events that a graph has streamed are emitted


class RunStream:
    """The events of one attempt that Redis does not have yet."""

    def __init__(self, publisher: "Publisher", claim: Claim, on_fenced: Callable[[], None]) -> None:
        """`on_fenced` is called when Redis refuses events, because another worker has the run."""
        self._publisher = publisher
        self.claim = claim
        self.on_fenced = on_fenced
        self.items: list[str | bytes] = []  # unsent events: name, JSON, …
        self.size = 0  # bytes of `items`
        self.batches = 0  # batches sent
        self.index = claim.index  # of the newest event that Redis is known to have
        self.emitted = 0  # events added to `items`
        self.refused = False  # Redis has refused a batch, so it must not get a later one
        self.appended = 0  # emitted events that Redis has
        self._full = False  # the graph waits for room
        self.sending: asyncio.Future[None] | None = None  # done when the current batch is written
        self.open = True

    def emit(self, event: str, data: bytes) -> None:
        """Adds an event. Drops it after `close()`, as the run may have ended by then."""
        if self.open:
            event, data = self.limit_size(event, data)
            self.emitted += 1
            self.items += (event, data)
            self.size += len(event) + len(data) + OVERHEAD
            self._publisher.wake(self)

    def limit_size(self, event: str, data: bytes) -> tuple[str, bytes]:
        """Returns the event, or an `error` event in its place if it is too large."""
        max_bytes = self._publisher.max_event
        if len(data) > max_bytes:
            return "error", _too_large_error(event, len(data), max_bytes)
        return event, data

    def take(self) -> list[str | bytes]:
        """Removes and returns the next batch of unsent events."""
        items = self.items
        if self.size <= BATCH_BYTES and len(items) <= 2 * BATCH_EVENTS:
            self.items, self.size = [], 0
            return items
        taken, size = 0, 0
        while taken < len(items) and taken < 2 * BATCH_EVENTS and size < BATCH_BYTES:
            size += len(items[taken]) + len(items[taken + 1]) + OVERHEAD
            taken += 2
        self.items = items[taken:]
        self.size -= size
        return items[:taken]

    async def wait_for_room(self) -> None:
        """Waits while the run has more than HIGH_WATER unsent bytes."""
        try:
            while self.open and self.size > HIGH_WATER:
                self._full = True
                await self._publisher.wait_for_flush()
        finally:
            self._full = False

    async def wait_until_written(self, check: Callable[[], None]) -> None:
        """Waits until Redis has all events that the graph has streamed so far.

        A checkpoint must not be stored before the events that precede it: no later attempt would stream them.

        Args:
            check: called after each flush and after `wake_waiters`; ends the wait by raising.
        """
        while True:
            for _ in range(LOOP_CYCLES):  # meanwhile the newest events of the graph are emitted
                await asyncio.sleep(0)
            check()
            if not (self._full and self.open):
                break
            await self._publisher.wait_for_flush()
        target = self.emitted
        while self.open and self.appended < target:
            await self._publisher.wait_for_flush()
            check()

    async def close(self) -> list[str | bytes]:
        """Waits for the batch in progress, then returns the events that are still unsent.

        The caller appends them together with the end of the run.
        """
        self.open = False
        if self.sending is not None:
            await asyncio.wait([self.sending])
        items, self.items, self.size = self.items, [], 0
        self._publisher.forget(self)
        self.wake_waiters()
        return items

    def wake_waiters(self) -> None:
        """Makes all waits of this process check their conditions again."""
        self._publisher.wake_waiters()


class Publisher:
    """The one flusher of a worker process."""

    def __init__(
        self,
        redis: Client,
        *,
        max_events: int,
        max_event: int,
        observer: RunObserver = UNOBSERVED,
    ) -> None:
        """A stream holds about `max_events` events, each of at most `max_event` bytes."""
        self._redis = redis
        self._observer = observer
        self.max_event = max_event  # bytes
        self._max_events = max_events
        self._waiting: dict[RunStream, None] = {}
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> "asyncio.Task[None]":
        """Starts the flusher; it runs until `stop()`."""
        self.task = asyncio.create_task(self._run(), name="publisher")
        return self.task

    async def stop(self) -> None:
        """Ends the flusher. By then all runs have ended or were handed back, so no event is unsent."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    def stream(self, claim: Claim, on_fenced: Callable[[], None]) -> RunStream:
        """Returns the stream of an attempt; `on_fenced` is called if its lease is lost."""
        return RunStream(self, claim, on_fenced)

    def wake(self, stream: RunStream) -> None:
        """Adds the stream to the next round trip."""
        self._waiting[stream] = None
        self._wake.set()

    def forget(self, stream: RunStream) -> None:
        """Removes the stream from the next round trip."""
        self._waiting.pop(stream, None)

    async def wait_for_flush(self) -> None:
        """Waits for the end of a round trip, or for `wake_waiters`."""
        await self._flushed.wait()

    def wake_waiters(self) -> None:
        """Ends all calls of `wait_for_flush`."""
        self._flushed.set()
        self._flushed.clear()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            streams, self._waiting = list(self._waiting), {}
            if streams:
                await self._flush(streams)

    async def _flush(self, streams: list[RunStream]) -> None:
        loop = asyncio.get_running_loop()
        batches = []
        for stream in streams:
            stream.batches += 1
            stream.sending = loop.create_future()
            batches.append(Batch(stream.claim, stream.batches, stream.take(), stream.index))
            if stream.items:
                self.wake(stream)
        begun = loop.time()
        count = size = 0
        try:
            written = await self._send_all(batches)
            for batch, stream, index in zip(batches, streams, written, strict=True):
                if index is None:
                    stream.refused = True
                    self._observer.write_refused("events")
                else:
                    stream.index = index
                    stream.appended += len(batch.items) // 2
                    count += len(batch.items) // 2
                    size += sum(map(len, batch.items))
            if count:
                self._observer.appended(count, size, loop.time() - begun)
        finally:
            for stream in streams:
                if stream.sending is not None:
                    stream.sending.set_result(None)
                    stream.sending = None
            self.wake_waiters()
        for stream, index in zip(streams, written, strict=True):
            if index is None and stream.open:
                stream.on_fenced()

    async def _send_all(self, batches: list[Batch]) -> list[int | None]:
        """Sends the batches together. If that fails, sends each alone: then one invalid batch stops one run only."""
        try:
            return await self._send(batches)
        except Exception:
            log.exception("events could not be appended together; each run's are sent alone now")
        written: list[int | None] = []
        for batch in batches:
            try:
                written += await self._send([batch])
            except Exception:
                log.exception("the events of %s can't be appended", batch.claim.job)
                written.append(None)
        return written

    async def _send(self, batches: list[Batch]) -> list[int | None]:
        # A repeated batch has the same number, so Redis appends it once.
        return await retry_while_unavailable(
            f"the publisher, with {len(batches)} batches,",
            lambda: scripts.append(self._redis, batches, max_events=self._max_events),
        )


def _too_large_error(event: str, size: int, max_bytes: int) -> bytes:
    """Returns the data of the `error` event that replaces an event that is too large."""
    message = (
        f"An event {event!r} of {size} bytes was left out: STREAM_MAX_EVENT_BYTES is {max_bytes}."
    )
    return encode({"error": "EventTooLarge", "message": message})
