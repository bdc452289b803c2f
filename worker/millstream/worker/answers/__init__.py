"""Replies to the API's calls: one file per subject, and one table of all verbs."""

from collections.abc import Awaitable, Callable
from typing import Final

from millstream.shared.wire import Call
from millstream.worker.answers import external_checkpoints, graph_schemas, state, store, update
from millstream.worker.answers.context import AnswerContext

__all__ = ["VERBS", "AnswerContext"]

# Each function returns JSON, or raises one of the errors in `shared.calls.KINDS`.
VERBS: Final[dict[str, Callable[[AnswerContext, Call], Awaitable[bytes]]]] = {
    "copy": external_checkpoints.copy,
    "prune": external_checkpoints.prune,
    "schemas": graph_schemas.get_schemas,
    "graph": graph_schemas.draw,
    "subgraphs": graph_schemas.get_subgraphs,
    "state": state.get,
    "history": state.get_history,
    "update": update.update,
    "seed": update.seed,
    "store_put": lambda context, call: store.put(context.registry.store, call),
    "store_get": lambda context, call: store.get(context.registry.store, call),
    "store_delete": lambda context, call: store.delete(context.registry.store, call),
    "store_search": lambda context, call: store.search(context.registry.store, call),
    "store_namespaces": lambda context, call: store.list_namespaces(context.registry.store, call),
}
