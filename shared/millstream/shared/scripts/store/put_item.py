"""Write an item of the store: see put_item.lua."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("store/put_item")


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item as it is written.

    The row is a text to Redis, whatever is in it: so numbers keep their size, and any depth and any
    character will do.
    """

    name: str  # of its key
    namespace: str  # `items.word_of`
    row: str  # JSON: what the item is
    under: Sequence[str]  # the names of its namespace and of those above it
    vectors: Sequence[Sequence[float]] = ()  # its embeddings
    ttl: float | None = None  # s from now, or from the last reading that refreshes it


async def put_item(redis: Client, item: NewItem) -> None:
    """Writes the item, over one that is there."""
    document = {"under": list(item.under), "vectors": [list(vector) for vector in item.vectors]}
    ttl = 0 if item.ttl is None else max(1, round(item.ttl * 1000))
    await SCRIPT(
        redis,
        item=keys.item(item.name),
        members=_members({"namespace": item.namespace, "row": item.row}),
        document_members=_members(document),
        ttl=ttl,
    )


def _members(value: dict[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)[1:-1]
