"""A cache of the JSON schemas of graphs."""

import time
from dataclasses import dataclass
from typing import Any, Final

MAX_ASSISTANTS: Final = 1000  # in the cache
FRESH_SECONDS: Final = 60.0  # for which schemas are used without a call to a worker


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class GraphSchemas:
    """The JSON schemas of a graph's input and output; {} where it has none."""

    input: dict[str, Any]
    output: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    key: tuple[int, int]
    until: float  # monotonic
    schemas: GraphSchemas


class SchemaCache:
    """Schemas by assistant, for one version of the assistant and one announcement of its graph."""

    def __init__(self) -> None:
        """Creates an empty cache."""
        self._known: dict[str, _CacheEntry] = {}

    def fresh(self, assistant_id: str, key: tuple[int, int]) -> GraphSchemas | None:
        """Returns the cached schemas if they are fresh. `key` is the version and the announcement."""
        known = self._known.get(assistant_id)
        if known is None or known.key != key or time.monotonic() >= known.until:
            return None
        return known.schemas

    def last(self, assistant_id: str) -> GraphSchemas | None:
        """Returns the last schemas, however old. They are valid while no worker responds."""
        known = self._known.get(assistant_id)
        return None if known is None else known.schemas

    def put(self, assistant_id: str, key: tuple[int, int], schemas: GraphSchemas) -> None:
        """Stores schemas. Empties the cache first if it is full."""
        if len(self._known) >= MAX_ASSISTANTS and assistant_id not in self._known:
            self._known.clear()
        self._known[assistant_id] = _CacheEntry(key, time.monotonic() + FRESH_SECONDS, schemas)
