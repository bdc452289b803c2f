"""Finds threads by the sets that they are in: see find_threads.lua."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("threads/find_threads")
SMALL_SET: Final = 1000  # maximum number of members of a set that is sorted whole
CHUNK: Final = 500  # members of the order that one command scans
MAX_SCANNED: Final = 10_000  # members that one call scans, so that it does not delay other commands


@dataclass(frozen=True, slots=True)
class FoundThreads:
    """A page of matching threads, in order."""

    ids: list[str]
    next_start: int | None  # rank at which the next page starts; None after the last page
    total: int | None  # number of all matches; None if unknown
    is_decided: bool  # False: the caller must check the threads' metadata


async def find_threads(
    redis: Client, order: str, sets: Sequence[str], *, descending: bool, start: int, limit: int
) -> FoundThreads:
    """Returns about `limit` threads: fewer if the scan is long, at most a few more.

    Args:
        order: key of the sorted set that orders them.
        sets: keys of the sets that they must be in.
        start: rank in the order to start at.
    """
    next_start, total, is_decided, *ids = await SCRIPT(
        redis,
        order=order,
        unindexed=keys.unindexed(),
        sets=sets,
        descending="1" if descending else "",
        start=start,
        limit=limit,
        small_set=SMALL_SET,
        chunk=CHUNK,
        max_scanned=MAX_SCANNED,
    )
    return FoundThreads(
        [thread_id.decode() for thread_id in ids],
        None if next_start < 0 else next_start,
        None if total < 0 else total,
        is_decided == b"1",
    )
