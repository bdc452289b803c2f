"""What the API may ask: one file a subject, each verb once in the table."""

from collections.abc import Awaitable, Callable
from typing import Final

from millstream.shared.wire import Call
from millstream.worker.answers import foreign, shape, state, store, update
from millstream.worker.answers.means import Means

__all__ = ["VERBS", "Means"]

# Each returns JSON; what it refuses is one of the errors in `shared.calls.KINDS`.
VERBS: Final[dict[str, Callable[[Means, Call], Awaitable[bytes]]]] = {
    "copy": foreign.copy,
    "prune": foreign.prune,
    "schemas": shape.schemas,
    "graph": shape.drawn,
    "subgraphs": shape.subgraphs,
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
