"""Read items of the store: see get_items.lua."""

from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("store/get_items")
AT_ONCE = 500  # items a call: Redis does nothing else meanwhile


async def get_items(redis: Client, names: Sequence[str], *, refresh: bool) -> list[bytes | None]:
    """Returns the items' documents in the order of the names, None for those that are not there.

    Args:
        refresh: whether items with a TTL get their whole time again.
    """
    found: list[bytes | None] = []
    for start in range(0, len(names), AT_ONCE):
        part = [keys.item(name) for name in names[start : start + AT_ONCE]]
        found += await SCRIPT(redis, items=part, refresh=int(refresh))
    return found
