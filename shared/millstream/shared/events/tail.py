"""What a process shares about one run that clients follow: a window of its latest events, and its notifications."""

import asyncio
from collections import deque
from typing import Final, Protocol

from millstream.shared.events.entries import Entry, Position

WINDOW_ENTRIES: Final = 512  # maximum number of entries in memory for a run
WINDOW_BYTES: Final = 512 * 1024  # maximum size, unless one entry alone is larger


class Follower(Protocol):
    """A reader of the run, as its tail knows it."""

    news: asyncio.Event
    must_check_status: bool


class Tail:
    """The state of one followed run. Its window is open once a reader has reached the end of the stream."""

    __slots__ = (
        "deleted_status", "head", "is_quiet", "key", "notifications", "readers", "size", "start", "subscribed",
        "window",
    )  # fmt: skip

    def __init__(self, key: str) -> None:
        """`key` is that of the run's stream."""
        self.key = key
        self.readers: set[Follower] = set()
        self.notifications = (
            0  # a counter: a reader compares it to detect one that arrived while it read
        )
        self.window: deque[Entry] = deque()
        self.size = 0  # bytes in the window
        self.start: Position | None = (
            None  # the window has every entry after it; None: it is not open
        )
        self.head: Position | None = None  # position of the newest entry that the window had
        self.subscribed = asyncio.Event()
        self.is_quiet = True  # no notification since the last sweep
        self.deleted_status = b""  # the run's status when it was deleted; '' if it exists

    def open_window(self, position: Position) -> None:
        """Opens the window after the position: later entries are shared."""
        self.start = self.head = position

    def extend(self, entries: list[Entry]) -> None:
        """Appends entries to the window, and drops the oldest ones beyond its limits."""
        for entry in entries:
            self.window.append(entry)
            self.size += len(entry.data)
            self.head = entry.position
        while len(self.window) > WINDOW_ENTRIES or (
            self.size > WINDOW_BYTES and len(self.window) > 1
        ):
            dropped = self.window.popleft()
            self.size -= len(dropped.data)
            self.start = dropped.position

    def after(self, cursor: Position) -> list[Entry] | None:
        """Returns the window's entries after the cursor; None if the cursor is before the window."""
        if self.start is None or cursor < self.start:
            return None
        if self.head is None or cursor >= self.head:
            return []
        return [entry for entry in self.window if entry.position > cursor]

    def wake_readers(self) -> None:
        """Sets `news` of all readers."""
        for reader in self.readers:
            reader.news.set()
