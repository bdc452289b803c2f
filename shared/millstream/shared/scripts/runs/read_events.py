"""Reads pages of events: see read_events.lua. One call reads many streams in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/read_events")

RawEntry = tuple[bytes, dict[bytes, bytes]]  # id, fields


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive entries of a stream."""

    entries: list[RawEntry]
    more: bool  # a limit ended the page: more entries may follow
    oldest: RawEntry | None  # of the whole stream; None if not requested, or the stream is empty


async def read_events(
    redis: Client,
    cursors: Sequence[tuple[str, str]],
    *,
    max_entries: int,
    max_bytes: int,
    oldest: bool = False,
) -> list[Page]:
    """Returns a page of each stream.

    Args:
        cursors: for each stream its key and the id after which the page begins.
        max_entries: maximum number of entries in a page.
        max_bytes: a page ends with the entry that reaches this size.
        oldest: whether to return the oldest entry of each stream too.
    """
    replies = await SCRIPT.many(
        redis,
        [
            {
                "events": key,
                "after": f"({after}",
                "max_entries": max_entries,
                "max_bytes": max_bytes,
                "oldest": "1" if oldest else "",
            }
            for key, after in cursors
        ],
    )
    return [
        Page(
            [_parse(entry) for entry in entries], bool(more), oldest_entry and _parse(oldest_entry)
        )
        for more, entries, oldest_entry in replies
    ]


def _parse(entry: Any) -> RawEntry:
    entry_id, fields = entry
    return entry_id, dict(zip(fields[::2], fields[1::2], strict=True))
