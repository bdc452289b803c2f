"""Reads items of the store: see get_items.lua."""

from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("store/get_items")
AT_ONCE = 500  # items a call, because Redis executes nothing else meanwhile


async def get_items(redis: Client, names: Sequence[str], *, refresh: bool) -> list[bytes | None]:
    """Returns the items' documents in the order of the names; None for an item that does not exist.

    Args:
        names: `store_items.item_name` of each.
        refresh: whether the TTLs of the items restart.
    """
    documents: list[bytes | None] = []
    for start in range(0, len(names), AT_ONCE):
        batch = [keys.item(name) for name in names[start : start + AT_ONCE]]
        documents += await SCRIPT(redis, items=batch, refresh=int(refresh))
    return documents
