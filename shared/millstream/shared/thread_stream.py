"""The stream of a thread: what its runs and updates tell, one after the other, for as long as one listens.

Scripts note in which order runs and updates have the thread (turn.lua) and ring its doorbell. Each has an
event stream of its own, which is followed to its end before the next. So the order is the same for every
reader and after every resume, and nothing is stored twice.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from millstream.shared import keys
from millstream.shared.lifecycle import TERMINAL, RunStatus
from millstream.shared.redis import Client
from millstream.shared.scripts.store_state import UPDATE
from millstream.shared.stream import START, Entry, Position, Reader, StreamHub, parse_position

Mode = Literal["run_modes", "lifecycle", "state_update"]
PAGE: Final = 50  # turns read in one round trip
DONE: Final = "done"  # in the place of a position: the turn was told to its end
LIVE: Final = frozenset(status.encode() for status in RunStatus if status not in TERMINAL)


@dataclass(frozen=True, slots=True)
class TurnEntry(Entry):
    """One event of a thread's stream."""

    turn: str = ""
    done: bool = False

    @property
    def id(self) -> bytes:
        """The turn and the place in it: two turns may have entries of the same moment."""
        place = DONE if self.done else "-".join(map(str, self.position))
        return f"{self.turn}@{place}".encode()


class ThreadReader:
    """One client's cursor in a thread: `read()` when there is `news`, as with a `Reader` of a run.

    `ended` is set only when the thread is gone.
    """

    def __init__(
        self, hub: StreamHub, redis: Client, thread_id: str, modes: frozenset[str]
    ) -> None:
        self._hub = hub
        self._redis = redis
        self._thread_id = thread_id
        self._modes = modes
        self._doorbell = keys.turns(thread_id)
        self._cursor: tuple[float, str] = (float("-inf"), "")  # of turns: the last that was begun
        self._resume: tuple[str, Position | None] | None = None  # a turn that is begun in its midst
        self._turn = ""
        self._reader: Reader | None = None
        self.news = asyncio.Event()
        self.news.set()
        self.ended = False

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self._hub.closing

    async def begin(self, after: str | None) -> None:
        """Sets the cursor: behind an event's id, at the beginning ('-'), or None: from now on.

        An id that is not known any more, as all after it is kept no longer, begins at the beginning.
        """
        await self._hub.watch(self._doorbell, self.news)
        if after is None:
            await self._begin_now()
            return
        turn, _, place = after.rpartition("@")
        score = await self._redis.zscore(self._doorbell, turn) if turn else None
        if score is None:
            return
        if place == DONE:
            self._cursor = (score, turn)
        else:
            self._resume = (turn, parse_position(place) or START)
            self._cursor = (score, "")

    async def _begin_now(self) -> None:
        newest = await self._redis.zrevrange(self._doorbell, 0, 0, withscores=True)
        if not newest:
            return
        turn, score = newest[0][0].decode(), newest[0][1]
        status = await self._redis.hget(keys.run(self._thread_id, turn), "status")  # type: ignore[misc]
        if status in LIVE:
            self._resume = (turn, None)
            self._cursor = (score, "")
        else:
            self._cursor = (score, turn)

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
            entries = await self._reader.read()
            if not entries and not self._reader.ended:
                return []
            shown = [told for entry in entries for told in self._shown(entry)]
            if self._reader.ended:
                self._reader.close()
                self._reader = None
            if shown:
                return shown

    async def _next(self) -> bool:
        """Begins the next turn; returns False if there is none."""
        while True:
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrangebyscore(
                self._doorbell, self._cursor[0], "+inf", start=0, num=PAGE, withscores=True
            )
            pipe.exists(keys.thread(self._thread_id))
            found, exists = await pipe.execute()
            turns = [(score, word.decode()) for word, score in found]
            after = [each for each in turns if each > self._cursor]
            if not after:
                self.ended = not exists
                return False
            for cursor in after:
                turn = cursor[1]
                if await self._is_kept(turn):
                    start = self._resume[1] if self._resume and self._resume[0] == turn else START
                    reader = await self._hub.open(self._thread_id, turn, start)
                    reader.news = self.news
                    self._cursor, self._turn, self._reader, self._resume = (
                        cursor,
                        turn,
                        reader,
                        None,
                    )
                    return True
                self._cursor = cursor

    async def _is_kept(self, turn: str) -> bool:
        """Returns whether there is, or will be, something to tell of the turn."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.exists(keys.events(self._thread_id, turn))
        pipe.hget(keys.run(self._thread_id, turn), "status")
        exists, status = await pipe.execute()
        return bool(exists) or status in LIVE

    def _shown(self, entry: Entry) -> Iterator[Entry]:
        """Yields what of a turn's event the client asked for."""
        is_update = self._turn.startswith(UPDATE)
        event, data, done = entry.event, entry.data, entry.event == b"end"
        if done and not is_update:
            event = b"metadata"
            data = b'{"status":"run_done","run_id":"%b"}' % self._turn.encode()
        if is_update:
            wanted = "state_update" in self._modes and not done
        else:
            wanted = "run_modes" in self._modes or (
                "lifecycle" in self._modes and event == b"metadata"
            )
        if wanted:
            yield TurnEntry(entry.position, event, data, turn=self._turn, done=done)
