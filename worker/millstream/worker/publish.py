"""From events to a run's stream: encoded once, sent by one flusher a process.

The flusher takes whatever has gathered while its last round trip was under way and appends it,
for all runs, in the next one: under load it sends few large batches, when idle every event at
once.
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

OVERHEAD: Final = 64  # bytes that an event costs beside its text
log = logging.getLogger(__name__)

HIGH_WATER: Final = 4 * 1024 * 1024  # bytes a run may have unsent before its graph has to wait
# What one call of the script may carry: Redis serves nobody else meanwhile.
BATCH_BYTES: Final = 1024 * 1024
BATCH_EVENTS: Final = 1000
TURNS: Final = 4  # of the event loop, in which what a graph has streamed reaches its stream


class RunStream:
    """The events of one attempt on their way to Redis."""

    def __init__(self, publisher: "Publisher", claim: Claim, on_fenced: Callable[[], None]) -> None:
        """`on_fenced` is called when Redis refuses events, as another worker has the run."""
        self._publisher = publisher
        self.claim = claim
        self.on_fenced = on_fenced
        self.words: list[str | bytes] = []  # event name, JSON data, …: not sent yet
        self.size = 0
        self.batches = 0
        self.index = claim.index  # of the newest event that Redis had
        self.emitted = 0  # events that were added, and of those
        self.refused = False  # a batch was not taken: what comes after it must not be either
        self.appended = 0  # how many are in Redis
        self._full = False  # the graph waits for room
        self.sending: asyncio.Future[None] | None = None
        self.open = True

    def emit(self, event: str, data: bytes) -> None:
        """Adds an event; after `close()` it is dropped, for it belongs to nobody any more."""
        if self.open:
            event, data = self.fitting(event, data)
            self.emitted += 1
            self.words += (event, data)
            self.size += len(event) + len(data) + OVERHEAD
            self._publisher.wake(self)

    def fitting(self, event: str, data: bytes) -> tuple[str, bytes]:
        """Returns the event, or the one that stands for it if it is too large to keep."""
        most = self._publisher.max_event
        if len(data) > most:
            return "error", _too_large(event, len(data), most)
        return event, data

    def take(self) -> list[str | bytes]:
        """Returns the next batch of what is unsent, which is then on its way."""
        words = self.words
        if self.size <= BATCH_BYTES and len(words) <= 2 * BATCH_EVENTS:
            self.words, self.size = [], 0
            return words
        taken, size = 0, 0
        while taken < len(words) and taken < 2 * BATCH_EVENTS and size < BATCH_BYTES:
            size += len(words[taken]) + len(words[taken + 1]) + OVERHEAD
            taken += 2
        self.words = words[taken:]
        self.size -= size
        return words[:taken]

    async def room(self) -> None:
        """Waits while more is unsent than the run may have."""
        try:
            while self.open and self.size > HIGH_WATER:
                self._full = True
                await self._publisher.flushed()
        finally:
            self._full = False

    async def written(self, check: Callable[[], None]) -> None:
        """Waits until Redis has all that the graph has streamed so far; `check` may end the wait by
        raising, see `stir`.

        A checkpoint says that what lies before it need not be done again: it must not overtake
        the events of it.
        """
        while True:
            for _ in range(TURNS):  # what the graph has just streamed is taken up meanwhile
                await asyncio.sleep(0)
            check()
            if not (self._full and self.open):
                break
            await self._publisher.flushed()
        all_of_it = self.emitted
        while self.open and self.appended < all_of_it:
            await self._publisher.flushed()
            check()

    async def close(self) -> list[str | bytes]:
        """Returns the events that are still unsent, once those under way have arrived.

        The caller appends them together with the end of the run.
        """
        self.open = False
        if self.sending is not None:
            await asyncio.wait([self.sending])
        words, self.words, self.size = self.words, [], 0
        self._publisher.forget(self)
        self.stir()
        return words

    def stir(self) -> None:
        """Has all who wait for something look again."""
        self._publisher.stir()


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
        """A stream keeps about `max_events` events, each of at most `max_event` bytes."""
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
        """Ends the flusher; what is unsent is lost, and its runs were handed back or ended."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    def stream(self, claim: Claim, on_fenced: Callable[[], None]) -> RunStream:
        """Returns the stream of an attempt; `on_fenced` is called if its lease proves lost."""
        return RunStream(self, claim, on_fenced)

    def wake(self, stream: RunStream) -> None:
        """Has the stream flushed with the next round trip."""
        self._waiting[stream] = None
        self._wake.set()

    def forget(self, stream: RunStream) -> None:
        """Flushes the stream no more."""
        self._waiting.pop(stream, None)

    async def flushed(self) -> None:
        """Waits for the end of a round trip."""
        await self._flushed.wait()

    def stir(self) -> None:
        """Wakes those who wait for the end of a round trip."""
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
            if stream.words:
                self.wake(stream)
        begun = loop.time()
        count = size = 0
        try:
            written = await self._send_all(batches)
            for batch, stream, index in zip(batches, streams, written, strict=True):
                if index is None:
                    stream.refused = True
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
            self.stir()
        for stream, index in zip(streams, written, strict=True):
            if index is None and stream.open:
                stream.on_fenced()

    async def _send_all(self, batches: list[Batch]) -> list[int | None]:
        """Sends the batches together, or, if Redis takes offence at one, each by itself: only the
        run whose batch can't be written loses its lease for it."""
        try:
            return await self._send(batches)
        except Exception:
            log.exception("events could not be appended; each run's are tried by themselves")
        written: list[int | None] = []
        for batch in batches:
            try:
                written += await self._send([batch])
            except Exception:
                log.exception("the events of %s can't be appended", batch.claim.job)
                written.append(None)
        return written

    async def _send(self, batches: list[Batch]) -> list[int | None]:
        # A batch keeps its number: it is written once, however often it is sent.
        return await retry_while_unavailable(
            f"the publisher, with {len(batches)} batches,",
            lambda: scripts.append(self._redis, batches, max_events=self._max_events),
        )


def _too_large(event: str, size: int, most: int) -> bytes:
    """Returns the data of the `error` event that stands for one that is too large to keep."""
    message = f"An event {event!r} of {size} bytes was left out: STREAM_MAX_EVENT_BYTES is {most}."
    return encode({"error": "EventTooLarge", "message": message})
