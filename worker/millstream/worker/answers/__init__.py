"""What the API may ask: one file a subject, each verb once in the table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from millstream.shared.redis import Client
from millstream.shared.wire import Call
from millstream.worker.answers import state, store
from millstream.worker.checkpoints.saver import FencedSaver
from millstream.worker.graphs import GraphRegistry


@dataclass(frozen=True, slots=True)
class Means:
    """What an answer is made with; one set a worker process."""

    redis: Client
    registry: GraphRegistry
    saver: FencedSaver  # under no lease: it reads, or writes what a client asked for


# Each returns JSON; it raises NotFoundError or InvalidError for what the caller should be told.
VERBS: Final[dict[str, Callable[[Means, Call], Awaitable[bytes]]]] = {
    "state": lambda means, call: state.get(means.registry, means.saver, call),
    "store_put": lambda means, call: store.put(means.registry.store, call),
    "store_get": lambda means, call: store.get(means.registry.store, call),
    "store_delete": lambda means, call: store.delete(means.registry.store, call),
    "store_search": lambda means, call: store.search(means.registry.store, call),
    "store_namespaces": lambda means, call: store.namespaces(means.registry.store, call),
}
