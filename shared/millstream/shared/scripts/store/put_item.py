"""Writes an item of the store: see put_item.lua."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("store/put_item")


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to write.

    Redis stores the row as a string, so that numbers keep their precision and any depth and character is possible.
    """

    name: str  # `store_items.item_name`
    namespace: str  # `store_items.encode_namespace`
    row: str  # JSON of the item
    under: Sequence[str]  # `store_items.namespace_terms`
    vectors: Sequence[Sequence[float]] = ()  # embeddings
    ttl: float | None = None  # s from now, or from the last read that refreshes it


async def put_item(redis: Client, item: NewItem) -> None:
    """Writes the item; replaces an item of the same name."""
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
