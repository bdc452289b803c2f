"""Find threads by the sets in which they are: see find_threads.lua."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("threads/find_threads")
SMALL_SET: Final = 1000  # members of a set that is looked up whole
CHUNK: Final = 500  # members of the order in one command
MAX_SCANNED: Final = 10_000  # members that one call looks at, so that nobody waits long for Redis


@dataclass(frozen=True, slots=True)
class FoundThreads:
    """Some of the threads that were asked for, in order."""

    ids: list[str]
    place: int | None  # at which to go on; None: there are no more
    total: int | None  # all of them, None if that is not known
    decided: bool  # False: their metadata has to be looked at


async def find_threads(
    redis: Client, order: str, sets: Sequence[str], *, descending: bool, start: int, wanted: int
) -> FoundThreads:
    """Returns `wanted` threads or some more or less; see the script.

    Args:
        order: key of the sorted set in whose order they are.
        sets: keys of the sets that they must be in.
        start: place in the order from which on to look.
    """
    place, total, decided, *ids = await SCRIPT(
        redis,
        order=order,
        unindexed=keys.unindexed(),
        sets=sets,
        descending="1" if descending else "",
        start=start,
        wanted=wanted,
        few=SMALL_SET,
        chunk=CHUNK,
        most=MAX_SCANNED,
    )
    return FoundThreads(
        [word.decode() for word in ids],
        None if place < 0 else place,
        None if total < 0 else total,
        decided == b"1",
    )
