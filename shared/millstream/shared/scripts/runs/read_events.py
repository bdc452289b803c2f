"""Read pages of events: see read_events.lua. A process asks for many streams in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/read_events")

RawEntry = tuple[bytes, dict[bytes, bytes]]  # id, fields


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of a stream, in order."""

    entries: list[RawEntry]
    more: bool  # there may be more after them
    oldest: RawEntry | None  # of the whole stream, if it was asked for and there is one


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
        cursors: the key of a stream, and the id after which its page begins.
        max_entries: entries a page.
        max_bytes: a page is closed once it holds so many.
        oldest: whether to tell the oldest entry of each stream.
    """
    replies = await SCRIPT.many(
        redis,
        [
            {
                "events": key,
                "after": f"({after}",
                "max_entries": max_entries,
                "bytes": max_bytes,
                "oldest": "1" if oldest else "",
            }
            for key, after in cursors
        ],
    )
    return [
        Page([_raw(entry) for entry in entries], bool(more), first and _raw(first))
        for more, entries, first in replies
    ]


def _raw(entry: Any) -> RawEntry:
    words = entry[1]
    return entry[0], dict(zip(words[::2], words[1::2], strict=True))
