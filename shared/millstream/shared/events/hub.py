"""Reading the events of runs: one reader a process, a cursor a client.

A run's Redis Stream is the only source of its events, live and replayed. The scripts that write
to it ring its doorbell (a publish without content; those that delete it publish the run's status).
A process listens to the doorbells of the runs that its clients follow, on one connection; one loop
then reads all streams that have rung, in one round trip, into a small window a run. A client whose
cursor lies in the window reads from memory; one that is behind, because it joined late or is slow,
reads its own page from Redis. So nothing is buffered for a slow client, and no client waits for
another.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.events.entries import START, Entry, Position, format_position, parse_entry
from millstream.shared.redis import Client, OutageLog
from millstream.shared.redis.subscriber import Subscriber
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus

log = logging.getLogger(__name__)

PAGE: Final = 500  # entries a read
PAGE_BYTES: Final = 1024 * 1024  # at which a page is closed
AT_ONCE: Final = 64  # streams read in one round trip
WINDOW: Final = 512  # entries kept in memory a run
WINDOW_BYTES: Final = 512 * 1024
SWEEP: Final = 15.0  # s: the longest that a lost doorbell can delay an event


@dataclass(frozen=True, slots=True)
class _Page:
    entries: list[Entry]
    more: bool
    oldest: Entry | None


class _Tail:
    """What a process shares about one run that somebody follows."""

    __slots__ = (
        "gone", "head", "key", "quiet", "readers", "rung", "size", "start", "subscribed", "window",
    )  # fmt: skip

    def __init__(self, key: str) -> None:
        self.key = key
        self.readers: set[Reader] = set()
        self.rung = 0  # counts doorbells, so that a reader sees one that rang while it read
        self.window: deque[Entry] = deque()
        self.size = 0  # bytes in the window
        self.start: Position | None = None  # the window holds every entry after it
        self.head: Position | None = None  # and up to this one
        self.subscribed = asyncio.Event()
        self.quiet = True  # no doorbell since the last sweep
        self.gone = b""  # the status of the run, once it has been deleted

    def extend(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.window.append(entry)
            self.size += len(entry.data)
            self.head = entry.position
        while len(self.window) > WINDOW or (self.size > WINDOW_BYTES and len(self.window) > 1):
            dropped = self.window.popleft()
            self.size -= len(dropped.data)
            self.start = dropped.position

    def after(self, cursor: Position) -> list[Entry] | None:
        """Returns the window's entries after the cursor; None if it lies before the window."""
        if self.start is None or cursor < self.start:
            return None
        if self.head is None or cursor >= self.head:
            return []
        return [entry for entry in self.window if entry.position > cursor]

    def notify(self) -> None:
        for reader in self.readers:
            reader.news.set()


class StreamHub:
    """The one reader of a process. `start()` it within the event loop, `close()` it at the end."""

    def __init__(self, redis: Client, blocking: Client) -> None:
        """`blocking` is a client whose connections may wait without a timeout."""
        self._redis = redis
        self._subscriber = Subscriber(blocking, self._heard)
        self._tails: dict[str, _Tail] = {}
        self._watches: dict[str, set[asyncio.Event]] = {}  # of doorbells that are no stream's
        self._dirty: set[_Tail] = set()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._closed = False
        self._outages = OutageLog(log, "Reading streams")
        self.closing = False

    def start(self) -> None:
        """Starts to listen and to read."""
        for loop in (self._subscriber.run, self._read_rung, self._sweep):
            self._loops.append(self._begin(loop()))

    @property
    def alive(self) -> bool:
        """Whether all that it consists of is at work."""
        return not any(task.done() for task in self._loops)

    def shut_down(self) -> None:
        """Tells all readers that the process stops: `Reader.closing` is set, and they have news."""
        self.closing = True
        for tail in self._tails.values():
            tail.notify()
        self._ring_watches()

    async def close(self) -> None:
        """Ends the reading; open readers see no more news."""
        self._closed = True
        while self._tasks:  # again and again: redis-py swallows a cancel while it connects
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.5)

    def __repr__(self) -> str:
        readers = sum(len(tail.readers) for tail in self._tails.values())
        return f"<StreamHub {len(self._tails)} runs, {readers} readers>"

    async def open(
        self, thread_id: str, run_id: str, after: Position | None, *, fresh: bool = False
    ) -> "Reader":
        """Returns a reader of the run's events after a position; None means from now on.

        `fresh` says that the run is yet to be admitted: there is nothing to look up, and as the
        doorbell is listened to before the run exists, nothing can be missed. Close it when done.
        """
        key = keys.events(thread_id, run_id)
        tail = self._tails.get(key)
        new = tail is None
        if tail is None:
            tail = self._tails[key] = _Tail(key)
            if fresh:
                tail.start = tail.head = START
        reader = Reader(self, tail, keys.run(thread_id, run_id), after, fresh=fresh)
        tail.readers.add(reader)
        if new:
            try:
                await self._subscriber.listen(key)
            except BaseException:  # whoever opened it has given up
                reader.close()
                raise
        return reader

    async def read_stored(self, thread_id: str, run_id: str) -> AsyncIterator[Entry]:
        """Yields all entries of the run that there are now, read a page at a time."""
        more, cursor = True, START
        while more:
            [page] = await self._pages([(keys.events(thread_id, run_id), cursor)])
            for entry in page.entries:
                cursor = entry.position
                yield entry
            more = page.more

    async def newest_entry(self, thread_id: str, run_id: str) -> Entry | None:
        """Returns the run's newest entry: `end`, once it has ended and while its events are kept."""
        found = await self._redis.xrevrange(keys.events(thread_id, run_id), count=1)
        return parse_entry(found[0]) if found else None

    async def watch(self, doorbell: str, news: asyncio.Event) -> None:
        """Sets `news` whenever the doorbell rings, or may have, from now on."""
        self._watches.setdefault(doorbell, set()).add(news)
        await self._subscriber.listen(doorbell)

    def unwatch(self, doorbell: str, news: asyncio.Event) -> None:
        """Stops that."""
        watching = self._watches.get(doorbell, set())
        watching.discard(news)
        if not watching and self._watches.pop(doorbell, None) is not None and not self._closed:
            self._begin(self._forget(doorbell))

    def _ring_watches(self) -> None:
        for watching in self._watches.values():
            for news in watching:
                news.set()

    def _begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _drop(self, reader: "Reader", tail: _Tail) -> None:
        tail.readers.discard(reader)
        if not tail.readers and self._tails.get(tail.key) is tail:
            del self._tails[tail.key]
            if not self._closed:
                self._begin(self._forget(tail.key))

    async def _forget(self, key: str) -> None:
        if not self._is_followed(key):
            await self._subscriber.forget(key)
        if self._is_followed(key):  # somebody does by now, and was overtaken by the farewell
            await self._subscriber.listen(key)

    def _is_followed(self, key: str) -> bool:
        return key in self._tails or key in self._watches

    def _heard(self, key: str, confirmed: bool, word: bytes) -> None:
        for news in self._watches.get(key, ()):
            news.set()
        tail = self._tails.get(key)
        if tail is not None:
            if confirmed:
                tail.subscribed.set()
            if word:
                tail.gone = word
                tail.notify()
            self._ring(tail)

    def _ring(self, tail: _Tail) -> None:
        tail.rung += 1
        tail.quiet = False
        if tail.head is None:
            tail.notify()  # nobody has read yet: the first reader sets where the window starts
        else:
            self._dirty.add(tail)
            self._wake.set()

    async def _read_rung(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            rung = list(itertools.islice(self._dirty, AT_ONCE))
            self._dirty.difference_update(rung)  # clear first, then read
            if self._dirty:
                self._wake.set()
            try:
                pages = await self._pages([(tail.key, tail.head or START) for tail in rung])
                self._outages.recovered()
            except Exception as error:  # noqa: BLE001 - it is logged
                self._outages.failed(error)
                await asyncio.sleep(0.2)
                self._dirty.update(rung)
                self._wake.set()
                continue
            for tail, page in zip(rung, pages, strict=True):
                tail.extend(page.entries)
                if page.more:
                    self._ring(tail)
                tail.notify()

    async def _pages(
        self, cursors: list[tuple[str, Position]], *, oldest: bool = False
    ) -> list[_Page]:
        pages = await scripts.read_events(
            self._redis,
            [(key, format_position(position)) for key, position in cursors],
            max_entries=PAGE,
            max_bytes=PAGE_BYTES,
            oldest=oldest,
        )
        return [
            _Page(
                list(map(parse_entry, p.entries)),
                p.more,
                parse_entry(p.oldest) if p.oldest else None,
            )
            for p in pages
        ]

    async def _sweep(self) -> None:
        """Rings for the quiet, in case a doorbell was lost or a stream has gone."""
        while True:
            await asyncio.sleep(SWEEP)
            with contextlib.suppress(TimeoutError):  # who blocks it is found out next time
                async with asyncio.timeout(SWEEP):
                    await self._subscriber.check()
            self._ring_watches()
            for tail in list(self._tails.values()):
                if tail.quiet:
                    self._ring(tail)
                    for reader in tail.readers:
                        reader.doubtful = True
                    tail.notify()
                tail.quiet = True


class Reader:
    """One client's cursor in the events of one run.

    Wait for `news`, then `read()` until it returns nothing; stop when `ended`.
    """

    def __init__(
        self, hub: StreamHub, tail: _Tail, run_key: str, after: Position | None, *, fresh: bool
    ) -> None:
        """Entries up to `after` are left out; `fresh` says that the run was admitted just now."""
        self._hub = hub
        self._tail = tail
        self._run_key = run_key
        self._after = after
        self._cursor: Position | None = START if fresh else None
        self.news = asyncio.Event()
        self.news.set()
        self.doubtful = not fresh  # nothing tells that the stream will go on: ask the record
        self.ended = False

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self._hub.closing

    def close(self) -> None:
        """Stops following the run."""
        self._hub._drop(self, self._tail)

    async def read(self) -> list[Entry]:
        """Returns the next entries, in order, each once; an empty list if there are none now.

        The last entry of a run is named `end`; once it was returned, `ended` is set. An entry
        named `gap` (never stored) comes first where events after the given position were trimmed.

        Raises a redis-py connection error while Redis is away; the cursor stays.
        """
        self.news.clear()
        tail = self._tail
        rung = tail.rung
        await self.begin()
        if not tail.subscribed.is_set() and tail.start is None:
            return []  # nobody would hear of what comes; the doorbell's confirmation is news
        assert self._cursor is not None
        entries = tail.after(self._cursor)
        if entries is None:
            entries = await self._catch_up(rung)
        if entries:
            self._cursor = entries[-1].position
            self.doubtful = False
            self.ended = entries[-1].event == b"end"
        elif self.doubtful or tail.gone:
            entries = await self._settle()
        return entries

    async def begin(self) -> Position:
        """Sets the cursor, once; returns it, and so the position behind which all is still to be read.

        Raises a redis-py connection error while Redis is away.
        """
        if self._cursor is None:
            self._cursor = START if self._after == START else await self._first_cursor()
        return self._cursor

    async def _first_cursor(self) -> Position:
        found = await self._hub._redis.xrevrange(self._tail.key, count=1)
        newest = parse_entry(found[0]).position if found else START
        if self._after is not None:
            # An id from the future would open the shared window where nothing is yet.
            return min(self._after, newest)
        if found and b"end" in found[0][1]:
            return START  # of an ended run, what is kept is all there is
        return newest

    async def _catch_up(self, rung: int) -> list[Entry]:
        """Reads a page from Redis; opens the shared window once a reader stands at the head."""
        assert self._cursor is not None
        tail, start = self._tail, self._tail.start
        [page] = await self._hub._pages([(tail.key, self._cursor)], oldest=True)
        oldest, entries = page.oldest, page.entries
        if oldest is not None and self._cursor < oldest.position and not oldest.is_first:
            before = oldest.before()
            if self._cursor < before:
                gap = {
                    "requested": format_position(self._cursor),
                    "first": format_position(oldest.position),
                }
                self._cursor = before
                self.news.set()
                return [Entry(before, b"gap", msgspec.json.encode(gap))]
        if page.more:
            self.news.set()
        elif tail.start is None:
            tail.start = tail.head = entries[-1].position if entries else self._cursor
            if tail.rung != rung:
                self._hub._ring(tail)
        else:
            # The window may by now begin where this page ends. Only one that was open before the
            # page was read tells that what lay between is gone.
            if not entries and start is not None:
                self._cursor = max(self._cursor, start)
            self.news.set()
        return entries

    async def _settle(self) -> list[Entry]:
        """Returns an `end` entry of our own if the run has ended and its events are gone."""
        status = self._tail.gone
        if not status:
            status = await self._hub._redis.hget(self._run_key, "status")  # type: ignore[misc]
        self.doubtful = False
        if status is not None and RunStatus(status.decode()) not in TERMINAL:
            return []
        assert self._cursor is not None
        [page] = await self._hub._pages([(self._tail.key, self._cursor)])
        late = page.entries
        if late:
            self._cursor = late[-1].position
            self.ended = late[-1].event == b"end"
            if not self.ended:
                self.news.set()
            return late
        self.ended = True
        data: Any = {"status": status.decode() if status else RunStatus.ERROR.value}
        return [Entry(self._cursor, b"end", msgspec.json.encode(data))]
