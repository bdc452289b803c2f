"""What the API may ask: one file a subject, each verb once in the table."""

from collections.abc import Awaitable, Callable
from typing import Final

from millstream.shared.wire import Call
from millstream.worker.answers import external_checkpoints, graph_schemas, state, store, update
from millstream.worker.answers.context import Means

__all__ = ["VERBS", "Means"]

# Each returns JSON; what it refuses is one of the errors in `shared.calls.KINDS`.
VERBS: Final[dict[str, Callable[[Means, Call], Awaitable[bytes]]]] = {
    "copy": external_checkpoints.copy,
    "prune": external_checkpoints.prune,
    "schemas": graph_schemas.schemas,
    "graph": graph_schemas.drawn,
    "subgraphs": graph_schemas.subgraphs,
    "state": state.get,
    "history": state.history,
    "update": update.update,
    "seed": update.seed,
    "store_put": lambda means, call: store.put(means.registry.store, call),
    "store_get": lambda means, call: store.get(means.registry.store, call),
    "store_delete": lambda means, call: store.delete(means.registry.store, call),
    "store_search": lambda means, call: store.search(means.registry.store, call),
    "store_namespaces": lambda means, call: store.namespaces(means.registry.store, call),
}
