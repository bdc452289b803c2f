"""What a saver reports of its writes to the observer."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from millstream.shared.errors import FencedError
from millstream.shared.observer import RunObserver
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace

Result = TypeVar("Result")


class SaverReports:
    """The reports of one saver: of a run with its graph, or without a graph of none."""

    def __init__(self, observer: RunObserver, graph_id: str = "") -> None:
        """Reports nothing yet."""
        self._observer = observer
        self._graph_id = graph_id
        self._stepped_at = (
            0.0  # monotonic time of the newest checkpoint of the root namespace; 0 before it
        )

    def of_run(self, graph_id: str) -> "SaverReports":
        """Returns the reports of a run of this graph."""
        return SaverReports(self._observer, graph_id)

    def begins(self, namespace: CheckpointNamespace) -> None:
        """Reports the time since the checkpoint before. Checkpoints of subgraphs are no steps of the run's graph."""
        if not self._graph_id or namespace.name:
            return
        before, self._stepped_at = self._stepped_at, time.monotonic()
        if before:
            self._observer.step_ended(self._graph_id, self._stepped_at - before)

    def stored(self, size: int, begun: float) -> None:
        """Reports that a checkpoint is stored, whose write began at a monotonic time."""
        self._observer.checkpoint_stored(size, time.monotonic() - begun)

    async def refused(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Returns the result of a write. Reports it if Redis refuses it, and raises its FencedError."""
        try:
            return await call()
        except FencedError:
            self._observer.write_refused("checkpoint")
            raise
