"""What the API may ask: one file a subject, each verb once in the table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver

from millstream.shared.redis import Client
from millstream.shared.wire import Call
from millstream.worker.answers import state
from millstream.worker.graphs import GraphRegistry


@dataclass(frozen=True, slots=True)
class Means:
    """What an answer is made with; one set a worker process."""

    redis: Client
    registry: GraphRegistry
    saver: BaseCheckpointSaver[Any]  # under no lease: it reads, or writes what a client asked for


# Each returns JSON; it raises NotFoundError or InvalidError for what the caller should be told.
VERBS: Final[dict[str, Callable[[Means, Call], Awaitable[bytes]]]] = {
    "state": lambda means, call: state.get(means.registry, means.saver, call),
}
