"""What every answer is made with."""

from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from millstream.shared.redis import Client
from millstream.shared.settings import Settings
from millstream.worker.graphs import GraphRegistry


@dataclass(frozen=True, slots=True)
class Means:
    """One set a worker process."""

    redis: Client
    registry: GraphRegistry
    saver: BaseCheckpointSaver[Any]  # under no lease: for reading
    settings: Settings
