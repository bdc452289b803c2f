"""Follows the events of many runs for many clients: one subscriber and one read loop in a process.

A run's Redis Stream is the only source of its events, live and for replay. The scripts that write to it notify its
channel with an empty message; the scripts that delete it publish the run's status. A process subscribes to the channels
of the runs that its clients follow, on one connection. One loop reads all notified streams in one round trip into a
small window for each run (tail.py). A client whose cursor is in the window reads from memory. A client that is behind,
because it joined late or is slow, reads pages of its own from Redis (reader.py). So the process buffers nothing for a
slow client, and no client waits for another.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from millstream.shared import keys
from millstream.shared.events.entries import START, Entry, Position
from millstream.shared.events.pages import EventPages
from millstream.shared.events.reader import Reader
from millstream.shared.events.tail import Tail
from millstream.shared.redis import Client, OutageLog
from millstream.shared.redis.subscriber import Subscriber

log = logging.getLogger(__name__)

AT_ONCE: Final = 64  # streams read in one round trip
SWEEP_SECONDS: Final = 15.0  # the longest time by which a lost notification can delay an event


class StreamHub:
    """Opens readers of runs. `start()` it within the event loop, `close()` it at the end."""

    def __init__(
        self,
        redis: Client,
        blocking: Client,
        on_outage: Callable[[float], None] | None = None,
    ) -> None:
        """`blocking` is a client whose connections may wait without a timeout.

        `on_outage` is called after each outage of Redis, with its seconds.
        """
        self._pages = EventPages(redis)
        self._subscriber = Subscriber(blocking, self._on_message, on_recovered=on_outage)
        self._tails: dict[str, Tail] = {}
        self._watches: dict[str, set[asyncio.Event]] = {}  # of channels that are not a stream's
        self._notified: set[Tail] = set()  # their streams have events to read
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._closed = False
        self._outages = OutageLog(log, "Reading streams")
        self.closing = False

    def start(self) -> None:
        """Starts to subscribe and to read."""
        for loop in (self._subscriber.run, self._read_notified, self._sweep):
            self._loops.append(self._start_task(loop()))

    @property
    def alive(self) -> bool:
        """Whether all its tasks run."""
        return not any(task.done() for task in self._loops)

    def shut_down(self) -> None:
        """Tells all readers that the process stops: `Reader.closing` and `news` are set."""
        self.closing = True
        for tail in self._tails.values():
            tail.wake_readers()
        self._notify_watchers()

    async def close(self) -> None:
        """Ends all tasks; open readers get no more news."""
        self._closed = True
        while self._tasks:  # repeatedly, because redis-py swallows a cancel while it connects
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.5)

    def __repr__(self) -> str:
        readers = sum(len(tail.readers) for tail in self._tails.values())
        return f"<StreamHub {len(self._tails)} runs, {readers} readers>"

    async def open(
        self, thread_id: str, run_id: str, after: Position | None, *, fresh: bool = False
    ) -> Reader:
        """Returns a reader of the run's events after a position; None means the next event. Close it when done.

        `fresh` says that the run is not admitted yet. The reader then reads nothing from Redis first, and misses
        no event, because the hub subscribes before the run exists.
        """
        key = keys.events(thread_id, run_id)
        tail = self._tails.get(key)
        is_new = tail is None
        if tail is None:
            tail = self._tails[key] = Tail(key)
            if fresh:
                tail.open_window(START)
        reader = Reader(self, self._pages, tail, keys.run(thread_id, run_id), after, fresh=fresh)
        tail.readers.add(reader)
        if is_new:
            try:
                await self._subscriber.listen(key)
            except BaseException:  # also a cancel: the caller gets no reader that it could close
                reader.close()
                raise
        return reader

    async def read_stored(self, thread_id: str, run_id: str) -> AsyncIterator[Entry]:
        """Yields all entries that the run has now, read in pages."""
        more, cursor = True, START
        while more:
            [page] = await self._pages.read([(keys.events(thread_id, run_id), cursor)])
            for entry in page.entries:
                cursor = entry.position
                yield entry
            more = page.more

    async def newest_entry(self, thread_id: str, run_id: str) -> Entry | None:
        """Returns the run's newest entry; it is `end` if the run has ended and its events are still stored."""
        return await self._pages.read_newest(keys.events(thread_id, run_id))

    async def watch(self, channel: str, news: asyncio.Event) -> None:
        """Sets `news` from now on at each notification of the channel, and when one may have been lost."""
        self._watches.setdefault(channel, set()).add(news)
        await self._subscriber.listen(channel)

    def unwatch(self, channel: str, news: asyncio.Event) -> None:
        """Ends a `watch`."""
        watchers = self._watches.get(channel, set())
        watchers.discard(news)
        if not watchers and self._watches.pop(channel, None) is not None and not self._closed:
            self._start_task(self._unsubscribe(channel))

    def request_read(self, tail: Tail) -> None:
        """Counts a notification of the run, and reads its next events into the window soon."""
        tail.notifications += 1
        tail.is_quiet = False
        if tail.head is None:
            tail.wake_readers()  # the window is not open: the first reader opens it
        else:
            self._notified.add(tail)
            self._wake.set()

    def release(self, reader: Reader, tail: Tail) -> None:
        """Forgets the reader, and the tail after its last reader."""
        tail.readers.discard(reader)
        if not tail.readers and self._tails.get(tail.key) is tail:
            del self._tails[tail.key]
            if not self._closed:
                self._start_task(self._unsubscribe(tail.key))

    def _notify_watchers(self) -> None:
        for watchers in self._watches.values():
            for news in watchers:
                news.set()

    def _start_task(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _unsubscribe(self, channel: str) -> None:
        if not self._is_followed(channel):
            await self._subscriber.forget(channel)
        if self._is_followed(
            channel
        ):  # a new reader has subscribed before the unsubscription was sent
            await self._subscriber.listen(channel)

    def _is_followed(self, channel: str) -> bool:
        return channel in self._tails or channel in self._watches

    def _on_message(self, channel: str, is_subscription: bool, message: bytes) -> None:
        for news in self._watches.get(channel, ()):
            news.set()
        tail = self._tails.get(channel)
        if tail is not None:
            if is_subscription:
                tail.subscribed.set()
            if message:
                tail.deleted_status = message
                tail.wake_readers()
            self.request_read(tail)

    async def _read_notified(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = list(itertools.islice(self._notified, AT_ONCE))
            # Before the read, so that a notification that arrives during the read leads to another one.
            self._notified.difference_update(batch)
            if self._notified:
                self._wake.set()
            try:
                pages = await self._pages.read([(tail.key, tail.head or START) for tail in batch])
                self._outages.recovered()
            except Exception as error:  # noqa: BLE001 - it is logged
                await self._outages.wait_after(error)
                self._notified.update(batch)
                self._wake.set()
                continue
            for tail, page in zip(batch, pages, strict=True):
                tail.extend(page.entries)
                if page.more:
                    self.request_read(tail)
                tail.wake_readers()

    async def _sweep(self) -> None:
        """Treats runs without a notification as notified, in case it was lost or the stream was deleted."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            with contextlib.suppress(TimeoutError):  # the next sweep detects a blocked connection
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._subscriber.check()
            self._notify_watchers()
            for tail in list(self._tails.values()):
                if tail.is_quiet:
                    self.request_read(tail)
                    for reader in tail.readers:
                        reader.must_check_status = True
                    tail.wake_readers()
                tail.is_quiet = True
