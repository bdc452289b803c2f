"""What the observer hears of one open stream."""

import time
from collections.abc import Sequence
from typing import Final

from millstream.shared.events.entries import Entry
from millstream.shared.observer import RunObserver

OF_THE_SERVER: Final = frozenset(
    {b"metadata", b"error", b"end", b"gap"}
)  # other events are a graph's


class StreamWatch:
    """Reports that a stream was opened, what it sent, whether its client was slow, and that it was closed."""

    def __init__(
        self,
        observer: RunObserver,
        thread_id: str,
        run_id: str | None,
        *,
        resumed: bool = False,
        begins_run: bool = False,
    ) -> None:
        """Creates the reports of a run's stream, or without `run_id` of a thread's.

        Args:
            resumed: the client has sent the id of its last event.
            begins_run: the run is about to be admitted, for this request.
        """
        self._observer = observer
        self._thread_id = thread_id
        self._run_id = run_id
        self._resumed = resumed
        self._opened_at = 0.0  # monotonic
        self._has_sent = False
        self._begun_at = time.monotonic()
        self._awaits_graph = begins_run
        self._is_slow = False

    def opened(self) -> None:
        """Reports that the response begins."""
        self._opened_at = time.monotonic()
        self._observer.stream_opened(self._thread_id, self._run_id)
        if self._resumed:
            self._observer.resumed(self._thread_id, self._run_id)

    def sent(self, entries: Sequence[Entry], *, slow: bool = False) -> None:
        """Reports that the entries were sent, to a client that once fell behind the events in memory if `slow`."""
        self._observer.sent(len(entries), sum(len(entry.data) for entry in entries))
        if not self._has_sent:
            self._has_sent = True
            seconds = time.monotonic() - self._opened_at
            self._observer.first_event(self._thread_id, self._run_id, seconds)
        if slow and not self._is_slow:
            self._is_slow = True
            self._observer.slow_client(self._thread_id, self._run_id)
        if self._awaits_graph and any(entry.event not in OF_THE_SERVER for entry in entries):
            self._awaits_graph = False
            seconds = time.monotonic() - self._begun_at
            self._observer.first_graph_event(self._thread_id, self._run_id, seconds)
        if any(entry.event == b"gap" for entry in entries):
            self._observer.gap(self._thread_id, self._run_id)

    def closed(self) -> None:
        """Reports that the response has ended, or that the client has left."""
        seconds = time.monotonic() - self._opened_at
        self._observer.stream_closed(self._thread_id, self._run_id, seconds)
