"""One client's cursor in the events of a run: from the shared window, or in pages of its own."""

import asyncio
from typing import NamedTuple, Protocol

import msgspec

from millstream.shared.events.entries import START, Entry, Position, format_position
from millstream.shared.events.pages import EventPages, Page
from millstream.shared.events.tail import Tail
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus


class Hub(Protocol):
    """What a reader needs of the `StreamHub` that opened it."""

    closing: bool

    def request_read(self, tail: Tail) -> None:
        """Reads the run's next events into the window soon."""

    def release(self, reader: "Reader", tail: Tail) -> None:
        """Forgets the reader, and the tail after its last reader."""


class CatchUp(NamedTuple):
    """What a reader outside of the window does with a page."""

    entries: list[Entry]  # to return
    cursor: Position  # if `entries` is empty
    opens_window: bool = False  # the reader has reached the end of the stream: it opens the window
    reads_again: bool = False  # without waiting for a notification


def decide_catch_up(
    cursor: Position, page: Page, *, start_before: Position | None, start: Position | None
) -> CatchUp:
    """Returns what to do with a page that was read after the cursor.

    Args:
        cursor: of the reader.
        page: with the oldest entry of the stream.
        start_before: start of the window before the page was read; None if it was not open.
        start: start of the window now.
    """
    oldest, entries = page.oldest, page.entries
    if oldest is not None and not oldest.is_first and cursor < (before := oldest.before()):
        gap = {"requested": format_position(cursor), "first": format_position(oldest.position)}
        entry = Entry(before, b"gap", msgspec.json.encode(gap))
        return CatchUp([entry], before, reads_again=True)
    if page.more:
        return CatchUp(entries, cursor, reads_again=True)
    if start is None:
        return CatchUp(entries, cursor, opens_window=True)
    # Another reader has opened the window meanwhile, perhaps where this page ends. Only if it was open before the page
    # was read does an empty page prove that the entries before the window are gone.
    if not entries and start_before is not None:
        cursor = max(cursor, start_before)
    return CatchUp(entries, cursor, reads_again=True)


class Reader:
    """One client's cursor in the events of one run.

    Wait for `news`, then `read()` until it returns an empty list; stop when `ended` is set.
    """

    def __init__(
        self,
        hub: Hub,
        pages: EventPages,
        tail: Tail,
        run_key: str,
        after: Position | None,
        *,
        fresh: bool,
    ) -> None:
        """Skips entries up to `after` (None: all that exist); `fresh` is set for a run that is not admitted yet."""
        self._hub = hub
        self._pages = pages
        self._tail = tail
        self._run_key = run_key
        self._after = after
        self._cursor: Position | None = START if fresh else None
        self.news = asyncio.Event()
        self.news.set()
        # No event proves that the stream will continue, so the record must say that the run has not ended.
        self.must_check_status = not fresh
        self.ended = False
        self._has_caught_up = False
        self.fell_behind = False  # the cursor has left the window: the client is slow

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self._hub.closing

    def close(self) -> None:
        """Stops following the run."""
        self._hub.release(self, self._tail)

    async def read(self) -> list[Entry]:
        """Returns the next entries in order, each once; an empty list if there are none now.

        The last entry of a run is named `end`; once it was returned, `ended` is set. An entry named `gap`, which
        is never stored, comes first where events after the requested position were trimmed.

        Raises a redis-py connection error while Redis is unavailable; the cursor stays.
        """
        self.news.clear()
        tail = self._tail
        notifications = tail.notifications
        await self.begin()
        if not tail.subscribed.is_set() and tail.start is None:
            return []  # later events would not be noticed; the confirmation of the subscription sets `news`
        assert self._cursor is not None
        entries = tail.after(self._cursor)
        if entries is not None:
            self._has_caught_up = True
        else:
            self.fell_behind = self.fell_behind or (self._has_caught_up and tail.start is not None)
            entries = await self._catch_up(notifications)
        if entries:
            self._cursor = entries[-1].position
            self.must_check_status = False
            self.ended = entries[-1].event == b"end"
        elif self.must_check_status or tail.deleted_status:
            entries = await self._check_status()
        return entries

    async def begin(self) -> Position:
        """Sets the cursor at the first call; returns its position, after which all events are still to be read.

        Raises a redis-py connection error while Redis is unavailable.
        """
        if self._cursor is None:
            self._cursor = START if self._after == START else await self._first_cursor()
        return self._cursor

    async def _first_cursor(self) -> Position:
        newest = await self._pages.read_newest(self._tail.key)
        head = newest.position if newest else START
        if self._after is not None:
            # A position beyond the stream must not open the shared window where no events exist yet.
            return min(self._after, head)
        if newest and newest.event == b"end":
            return START  # the run has ended: the client gets what is stored
        return head

    async def _catch_up(self, notifications: int) -> list[Entry]:
        """Reads a page from Redis, because the cursor is before the window or the window is not open."""
        assert self._cursor is not None
        tail, start_before = self._tail, self._tail.start
        [page] = await self._pages.read([(tail.key, self._cursor)], oldest=True)
        self._has_caught_up = self._has_caught_up or not page.more
        step = decide_catch_up(self._cursor, page, start_before=start_before, start=tail.start)
        self._cursor = step.cursor
        if step.opens_window:
            tail.open_window(step.entries[-1].position if step.entries else step.cursor)
            if tail.notifications != notifications:
                self._hub.request_read(tail)
        if step.reads_again:
            self.news.set()
        return step.entries

    async def _check_status(self) -> list[Entry]:
        """Returns the last entries, or an `end` entry that is not stored, if the run has ended."""
        status = self._tail.deleted_status or await self._pages.read_status(self._run_key)
        self.must_check_status = False
        if status is not None and RunStatus(status.decode()) not in TERMINAL:
            return []
        assert self._cursor is not None
        [page] = await self._pages.read([(self._tail.key, self._cursor)])
        if page.entries:
            self._cursor = page.entries[-1].position
            self.ended = page.entries[-1].event == b"end"
            if not self.ended:
                self.news.set()
            return page.entries
        self.ended = True
        data = {"status": status.decode() if status else RunStatus.ERROR.value}
        return [Entry(self._cursor, b"end", msgspec.json.encode(data))]
