"""The JSON schemas of graphs, as far as a process knows them."""

import time
from dataclasses import dataclass
from typing import Any, Final

MAX_ASSISTANTS: Final = 1000  # whose schemas a process keeps
FRESH: Final = 60.0  # s for which a worker is not asked for schemas again


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class GraphSchemas:
    """The JSON schemas of what a graph takes and answers; {} where it can't say."""

    input: dict[str, Any]
    output: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Known:
    of: tuple[int, int]
    until: float  # monotonic
    schemas: GraphSchemas


class SchemaCache:
    """Schemas by assistant; each belongs to one version of it, and to one announcement of its graph."""

    def __init__(self) -> None:
        """Knows no schemas yet."""
        self._known: dict[str, _Known] = {}

    def fresh(self, assistant_id: str, of: tuple[int, int]) -> GraphSchemas | None:
        """Returns schemas that no worker need be asked for; `of` is the version and the announcement."""
        known = self._known.get(assistant_id)
        if known is None or known.of != of or time.monotonic() >= known.until:
            return None
        return known.schemas

    def last(self, assistant_id: str) -> GraphSchemas | None:
        """Returns the schemas that were kept last, however old: they hold while no worker answers."""
        known = self._known.get(assistant_id)
        return None if known is None else known.schemas

    def keep(self, assistant_id: str, of: tuple[int, int], schemas: GraphSchemas) -> None:
        """Keeps them until they are no longer fresh; a full cache is emptied first."""
        if len(self._known) >= MAX_ASSISTANTS and assistant_id not in self._known:
            self._known.clear()
        self._known[assistant_id] = _Known(of, time.monotonic() + FRESH, schemas)
