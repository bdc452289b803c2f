"""What the observer hears of one open stream."""

import time
from collections.abc import Iterable

from millstream.shared.events.entries import Entry
from millstream.shared.observer import RunObserver


class StreamWatch:
    """Reports that a stream was opened, sent its first event, had a gap, and was closed."""

    def __init__(
        self, observer: RunObserver, thread_id: str, run_id: str | None, *, resumed: bool = False
    ) -> None:
        """Creates the reports of a run's stream, or without `run_id` of a thread's.

        With `resumed`, the client has sent the id of its last event.
        """
        self._observer = observer
        self._thread_id = thread_id
        self._run_id = run_id
        self._resumed = resumed
        self._opened_at = 0.0  # monotonic
        self._has_sent = False

    def opened(self) -> None:
        """Reports that the response begins."""
        self._opened_at = time.monotonic()
        self._observer.stream_opened(self._thread_id, self._run_id)
        if self._resumed:
            self._observer.resumed(self._thread_id, self._run_id)

    def sent(self, entries: Iterable[Entry]) -> None:
        """Reports that the entries were sent."""
        if not self._has_sent:
            self._has_sent = True
            seconds = time.monotonic() - self._opened_at
            self._observer.first_event(self._thread_id, self._run_id, seconds)
        if any(entry.event == b"gap" for entry in entries):
            self._observer.gap(self._thread_id, self._run_id)

    def closed(self) -> None:
        """Reports that the response has ended, or that the client has left."""
        seconds = time.monotonic() - self._opened_at
        self._observer.stream_closed(self._thread_id, self._run_id, seconds)
