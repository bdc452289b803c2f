"""The stream of a thread: the events of its runs and updates, one after the other, without an end.

Scripts number the runs and updates of a thread in the order in which they become active (parts/sequence.lua) and
notify the thread's channel. Each run and update is a segment with an event stream of its own, whose ids begin with
that number. A reader follows one segment to its end before the next. So the order is the same for every reader and
after every resume, and no event is stored twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from millstream.shared import keys
from millstream.shared.events.entries import START, Entry, Position, parse_position_of
from millstream.shared.events.hub import StreamHub
from millstream.shared.events.reader import Reader
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.scripts.threads.store_state import UPDATE

PAGE: Final = 50  # segments read in one round trip
LIVE: Final = frozenset(status.encode() for status in RunStatus if status not in TERMINAL)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a thread, or an update of its state."""

    seq: int
    segment_id: str  # the id of the run, or the name of the update
    graph_id: str = ""  # of a run, while its record exists
    began_at: int = 0  # ms since the epoch, of a run, while its record exists

    @property
    def is_update(self) -> bool:
        """Whether it is an update, not a run."""
        return self.segment_id.startswith(UPDATE)


Translate = Callable[[Segment, Entry], Iterable[Entry]]  # a stored entry → what a client receives


class ThreadReader:
    """One client's cursor in a thread: `read()` after `news`, as with the `Reader` of a run.

    `ended` is set only when the thread is deleted. A reader waits for a thread that does not exist yet.
    """

    def __init__(
        self,
        hub: StreamHub,
        redis: Client,
        thread_id: str,
        translate: Translate,
        may_read: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`translate` returns what the client receives of an entry.

        `may_read` returns whether the client may read the thread that has the id now; None if it may in any case. It
        is called before each segment. To a client that may not, the thread does not exist.
        """
        self._may_read = may_read
        self._hub = hub
        self._redis = redis
        self._thread_id = thread_id
        self._translate = translate
        self._segments_key = keys.segments(thread_id)  # also the channel that scripts notify
        self._seq = 0  # of the segment that is read, or was read last
        self._resume: Position = START  # where the first segment begins, if not at its start
        self._segment: Segment | None = None
        self._reader: Reader | None = None
        self._existed = False
        self.news = asyncio.Event()
        self.news.set()
        self.ended = False
        self.fell_behind = False  # the client is slow: see `Reader`

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self._hub.closing

    async def begin(self, after: Position | None) -> Position:
        """Sets the cursor and returns its position.

        `after` is the position of the last event that the client has, START for the first event of the
        thread, or None for the next event. A position beyond the thread's last segment counts as START:
        the thread was deleted and created anew.
        """
        await self._hub.watch(self._segments_key, self.news)
        if self._may_read is not None and not await self._may_read():
            return START
        newest = await self._redis.zrevrange(self._segments_key, 0, 0, withscores=True)
        if not newest:
            return START
        segment_id, seq = newest[0][0].decode(), int(newest[0][1])
        if after is None:
            last = await self._redis.xrevrange(keys.events(self._thread_id, segment_id), count=1)
            after = parse_position_of(last[0]) if last else (seq, 0)
        if after[0] > seq:
            return START
        self._seq = after[0] if await self._is_last(after) else after[0] - 1
        self._resume = after
        return after

    async def _is_last(self, position: Position) -> bool:
        """Returns whether its segment will have no event after the position."""
        seq = position[0]
        for segment_id in await self._redis.zrangebyscore(self._segments_key, seq, seq):
            stream = keys.events(self._thread_id, segment_id.decode())
            newest = await self._redis.xrevrange(stream, count=1)
            if not newest or b"end" not in newest[0][1]:
                return False
            return parse_position_of(newest[0]) <= position
        return True

    def close(self) -> None:
        """Stops following the thread."""
        if self._reader is not None:
            self._reader.close()
        self._hub.unwatch(self._segments_key, self.news)

    async def read(self) -> list[Entry]:
        """Returns the next events in order, each once; an empty list if there are none now.

        Raises a redis-py connection error while Redis is unavailable; the cursor stays.
        """
        self.news.clear()
        while True:
            if self._reader is None and not await self._open_next():
                return []
            assert self._reader is not None
            assert self._segment is not None
            entries = await self._reader.read()
            self.fell_behind = self.fell_behind or self._reader.fell_behind
            if not entries and not self._reader.ended:
                return []
            events = [event for entry in entries for event in self._translate(self._segment, entry)]
            if self._reader.ended:
                self._reader.close()
                self._reader = None
            if events:
                return events

    async def _open_next(self) -> bool:
        """Opens a reader of the next segment; returns False if there is none."""
        while True:
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrangebyscore(
                self._segments_key, f"({self._seq}", "+inf", start=0, num=PAGE, withscores=True
            )
            pipe.exists(keys.thread(self._thread_id))
            segments, exists = await pipe.execute()
            if exists and self._may_read is not None and not await self._may_read():
                return False
            self._existed |= bool(exists)
            if not segments:
                self.ended = self._existed and not exists
                return False
            for segment_id, score in segments:
                seq = int(score)
                segment = await self._load(seq, segment_id.decode())
                if segment is not None:
                    start = self._resume if self._resume[0] == seq else START
                    reader = await self._hub.open(self._thread_id, segment.segment_id, start)
                    reader.news = self.news
                    self._seq, self._segment, self._reader = seq, segment, reader
                    return True
                self._seq = seq

    async def _load(self, seq: int, segment_id: str) -> Segment | None:
        """Returns the segment; None if it has no events and will have none."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.exists(keys.events(self._thread_id, segment_id))
        pipe.hmget(keys.run(self._thread_id, segment_id), ["status", "graph", "started_at"])
        exists, (status, graph, started) = await pipe.execute()
        if not exists and status not in LIVE:
            return None
        return Segment(seq, segment_id, (graph or b"").decode(), int(started or 0) // 1000)


def translate_modes(modes: frozenset[str]) -> Translate:
    """Returns what `GET /threads/{thread_id}/stream` sends to a client that requested these modes."""

    def translate(segment: Segment, entry: Entry) -> Iterable[Entry]:
        event, data, is_end = entry.event, entry.data, entry.event == b"end"
        if segment.is_update:
            is_requested = "state_update" in modes and not is_end
        else:
            if is_end:
                event = b"metadata"
                data = b'{"status":"run_done","run_id":"%b"}' % segment.segment_id.encode()
            is_requested = "run_modes" in modes or ("lifecycle" in modes and event == b"metadata")
        if is_requested:
            yield Entry(entry.position, event, data)

    return translate
