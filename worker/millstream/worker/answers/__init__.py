"""What the API may ask: one file a subject, each verb once in the table."""

from collections.abc import Awaitable, Callable
from typing import Final

from millstream.shared.wire import Call
from millstream.worker.answers import external_checkpoints, graph_schemas, state, store, update
from millstream.worker.answers.context import AnswerContext

__all__ = ["VERBS", "AnswerContext"]

# Each returns JSON; what it refuses is one of the errors in `shared.calls.KINDS`.
VERBS: Final[dict[str, Callable[[AnswerContext, Call], Awaitable[bytes]]]] = {
    "copy": external_checkpoints.copy,
    "prune": external_checkpoints.prune,
    "schemas": graph_schemas.schemas,
    "graph": graph_schemas.drawing,
    "subgraphs": graph_schemas.subgraphs,
    "state": state.get,
    "history": state.history,
    "update": update.update,
    "seed": update.seed,
    "store_put": lambda context, call: store.put(context.registry.store, call),
    "store_get": lambda context, call: store.get(context.registry.store, call),
    "store_delete": lambda context, call: store.delete(context.registry.store, call),
    "store_search": lambda context, call: store.search(context.registry.store, call),
    "store_namespaces": lambda context, call: store.namespaces(context.registry.store, call),
}
