"""The stream of a thread: what its runs and updates tell, one after the other, for as long as one listens.

Scripts number the runs and updates in the order in which they have the thread (sequence.lua) and ring its doorbell.
Each has an event stream of its own, whose ids begin with that number, and it is followed to its end before the
next. So the order is the same for every reader and after every resume, and nothing is stored twice.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from millstream.shared import keys
from millstream.shared.events.entries import START, Entry, Position, parse_entry
from millstream.shared.events.hub import Reader, StreamHub
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.scripts.threads.store_state import UPDATE

PAGE: Final = 50  # segments read in one round trip
LIVE: Final = frozenset(status.encode() for status in RunStatus if status not in TERMINAL)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run, or an update of the state, that has or had the thread."""

    number: int
    word: str  # the id of the run, or the name of the update
    graph_id: str = ""  # of a run, while its record is kept
    began_at: int = 0  # ms since the epoch, of a run, while its record is kept

    @property
    def is_update(self) -> bool:
        """Whether it is no run."""
        return self.word.startswith(UPDATE)


Tell = Callable[
    [Segment, Entry], Iterable[Entry]
]  # what the client is told of an entry of a segment


class ThreadReader:
    """One client's cursor in a thread: `read()` when there is `news`, as with a `Reader` of a run.

    `ended` is set only when the thread is gone; one that is yet to be created is waited for.
    """

    def __init__(self, hub: StreamHub, redis: Client, thread_id: str, tell: Tell) -> None:
        """`tell` returns what the client is sent of an entry."""
        self._hub = hub
        self._redis = redis
        self._thread_id = thread_id
        self._tell = tell
        self._doorbell = keys.segments(thread_id)
        self._begun = 0  # the number of the last segment that was begun
        self._resume: Position = START  # of a segment that is begun in its midst
        self._segment: Segment | None = None
        self._reader: Reader | None = None
        self._existed = False
        self.news = asyncio.Event()
        self.news.set()
        self.ended = False

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self._hub.closing

    async def begin(self, after: Position | None) -> Position:
        """Sets the cursor: behind an event, at the beginning (START), or None: from now on.

        A position that the thread has not reached yet, for it was deleted meanwhile and created anew, begins
        at the beginning. Returns the position at which it begins.
        """
        await self._hub.watch(self._doorbell, self.news)
        newest = await self._redis.zrevrange(self._doorbell, 0, 0, withscores=True)
        if not newest:
            return START
        word, number = newest[0][0].decode(), int(newest[0][1])
        if after is None:
            told = await self._redis.xrevrange(keys.events(self._thread_id, word), count=1)
            after = parse_entry(told[0]).position if told else (number, 0)
        if after[0] > number:
            return START
        self._begun = after[0] if await self._was_told(after) else after[0] - 1
        self._resume = after
        return after

    async def _was_told(self, after: Position) -> bool:
        """Returns whether the position is the last that its segment will ever have."""
        for word in await self._redis.zrangebyscore(self._doorbell, after[0], after[0]):
            newest = await self._redis.xrevrange(
                keys.events(self._thread_id, word.decode()), count=1
            )
            return (
                bool(newest) and b"end" in newest[0][1] and parse_entry(newest[0]).position <= after
            )
        return True

    def close(self) -> None:
        """Stops following the thread."""
        if self._reader is not None:
            self._reader.close()
        self._hub.unwatch(self._doorbell, self.news)

    async def read(self) -> list[Entry]:
        """Returns the next events, in order, each once; an empty list if there are none now.

        Raises a redis-py connection error while Redis is away; the cursor stays.
        """
        self.news.clear()
        while True:
            if self._reader is None and not await self._next():
                return []
            assert self._reader is not None
            assert self._segment is not None
            entries = await self._reader.read()
            if not entries and not self._reader.ended:
                return []
            told = [event for entry in entries for event in self._tell(self._segment, entry)]
            if self._reader.ended:
                self._reader.close()
                self._reader = None
            if told:
                return told

    async def _next(self) -> bool:
        """Begins the next segment; returns False if there is none."""
        while True:
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrangebyscore(
                self._doorbell, f"({self._begun}", "+inf", start=0, num=PAGE, withscores=True
            )
            pipe.exists(keys.thread(self._thread_id))
            found, exists = await pipe.execute()
            self._existed |= bool(exists)
            if not found:
                self.ended = self._existed and not exists
                return False
            for word, score in found:
                number = int(score)
                segment = await self._kept(number, word.decode())
                if segment is not None:
                    start = self._resume if self._resume[0] == number else START
                    reader = await self._hub.open(self._thread_id, segment.word, start)
                    reader.news = self.news
                    self._begun, self._segment, self._reader = number, segment, reader
                    return True
                self._begun = number

    async def _kept(self, number: int, word: str) -> Segment | None:
        """Returns the segment if there is, or will be, something to tell of it."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.exists(keys.events(self._thread_id, word))
        pipe.hmget(keys.run(self._thread_id, word), ["status", "graph", "started_at"])
        exists, (status, graph, started) = await pipe.execute()
        if not exists and status not in LIVE:
            return None
        return Segment(number, word, (graph or b"").decode(), int(started or 0) // 1000)


def telling(modes: frozenset[str]) -> Tell:
    """Returns what `GET /threads/{thread_id}/stream` tells to a client that asked for these modes."""

    def tell(segment: Segment, entry: Entry) -> Iterable[Entry]:
        event, data, done = entry.event, entry.data, entry.event == b"end"
        if segment.is_update:
            wanted = "state_update" in modes and not done
        else:
            if done:
                event = b"metadata"
                data = b'{"status":"run_done","run_id":"%b"}' % segment.word.encode()
            wanted = "run_modes" in modes or ("lifecycle" in modes and event == b"metadata")
        if wanted:
            yield Entry(entry.position, event, data)

    return tell
