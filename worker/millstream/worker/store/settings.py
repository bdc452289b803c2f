"""What langgraph.json says of the store. Source: the LangGraph CLI's configuration file."""

from typing import Annotated

import msgspec

More = msgspec.Meta(gt=0)


class IndexSettings(msgspec.Struct, frozen=True):
    """`store.index`: what makes items searchable by meaning."""

    embed: Annotated[str, msgspec.Meta(min_length=1)]  # 'provider:model' or 'path.py:function'
    dims: Annotated[int, msgspec.Meta(gt=0, le=32768)]  # numbers of one embedding
    # Paths in the value; $ is all of it.
    fields: list[str] = msgspec.field(default_factory=lambda: ["$"])


class TTLSettings(msgspec.Struct, frozen=True):
    """`store.ttl`: how long items live. Redis lets them go by itself, so no sweep is needed."""

    default_ttl: Annotated[float, More] | None = None  # minutes
    refresh_on_read: bool = True
    sweep_interval_minutes: Annotated[float, More] | None = None  # without effect


class StoreSettings(msgspec.Struct, frozen=True):
    """`store`."""

    index: IndexSettings | None = None
    ttl: TTLSettings | None = None
    path: Annotated[str, msgspec.Meta(min_length=1)] | None = None  # a store of the user's own
