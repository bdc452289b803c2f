"""Reads the events of runs from Redis, in pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millstream.shared import scripts
from millstream.shared.events.entries import Entry, Position, format_position, parse_entry
from millstream.shared.redis import Client
from millstream.shared.sealing import key_ring_of

PAGE_ENTRIES: Final = 500  # maximum number of entries in a page
PAGE_BYTES: Final = 1024 * 1024  # a page ends with the entry that reaches this size


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive entries of a stream."""

    entries: list[Entry]
    more: bool  # a limit ended the page: more entries may follow
    oldest: Entry | None  # of the whole stream; None if not requested, or the stream is empty


class EventPages:
    """Reads streams with one client."""

    def __init__(self, redis: Client) -> None:
        """Reads nothing yet."""
        self._redis = redis

    async def read(
        self, cursors: Sequence[tuple[str, Position]], *, oldest: bool = False
    ) -> list[Page]:
        """Returns a page of each stream, in one round trip.

        Args:
            cursors: for each stream its key and the position after which the page begins.
            oldest: whether to return the oldest entry of each stream too.
        """
        pages = await scripts.read_events(
            self._redis,
            [(key, format_position(position)) for key, position in cursors],
            max_entries=PAGE_ENTRIES,
            max_bytes=PAGE_BYTES,
            oldest=oldest,
        )
        key_ring = key_ring_of(self._redis)
        return [
            Page(
                [parse_entry(raw, key, key_ring) for raw in page.entries],
                page.more,
                parse_entry(page.oldest, key, key_ring) if page.oldest else None,
            )
            for (key, _), page in zip(cursors, pages, strict=True)
        ]

    async def read_newest(self, key: str) -> Entry | None:
        """Returns the newest entry of a stream; None if the stream is empty."""
        raw = await self._redis.xrevrange(key, count=1)
        return parse_entry(raw[0], key, key_ring_of(self._redis)) if raw else None

    async def read_status(self, run_key: str) -> bytes | None:
        """Returns the status on a run's record; None if the run has no record."""
        status: bytes | None = await self._redis.hget(run_key, "status")  # type: ignore[misc]
        return status
