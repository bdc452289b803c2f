"""Reports of a child process to the observer of its worker, through the pipe between them."""

import asyncio
from typing import Any

from millstream.shared.observer import RunObserver, WriteKind
from millstream.worker.isolation import messages
from millstream.worker.isolation.messages import Report


class PipeObserver(RunObserver):
    """The observer in a child process: it sends each report to the worker, which alone has metrics.

    Attributes:
        is_enabled: whether the worker has an observer.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        """`writer` leads to the worker."""
        self.is_enabled = False
        self._writer = writer

    def _send(self, method: Any, *arguments: Any) -> None:
        if self.is_enabled and not self._writer.is_closing():
            messages.write(self._writer, Report(method, list(arguments)))

    def appended(self, count: int, size: int, seconds: float) -> None:
        """See RunObserver."""
        self._send("appended", count, size, seconds)

    def checkpoint_stored(self, size: int, seconds: float) -> None:
        """See RunObserver."""
        self._send("checkpoint_stored", size, seconds)

    def step_ended(self, graph_id: str, seconds: float) -> None:
        """See RunObserver."""
        self._send("step_ended", graph_id, seconds)

    def write_refused(self, kind: WriteKind) -> None:
        """See RunObserver."""
        self._send("write_refused", kind)


def forward(report: Report, observer: RunObserver) -> None:
    """Makes the report to the worker's observer."""
    getattr(observer, report.method)(*report.arguments)
