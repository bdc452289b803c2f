"""The seam where metrics, traces and logs attach: what the API and the workers report of runs.

Each process holds one observer and calls it at these points only. A method returns at once, never raises
and never blocks: it is called on the event loop, or where its docstring says so in the heartbeat's thread.
An observer takes plain data; which library it hands them to is its own affair.
"""

from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts import Claim
from millstream.shared.wire import RunSpec


class RunObserver:
    """Observes nothing: the base of those that do, which override the methods that they need."""

    # ── In the API ──────────────────────────────────────────────────────────────────────────

    def admitted(self, spec: RunSpec, delay_ms: int) -> None:
        """A run was admitted; it is due `delay_ms` later."""

    def rejected(self, assistant_id: str, error: Exception) -> None:
        """A request for a run was not admitted; `assistant_id` is as the client named it."""

    def stream_opened(self, thread_id: str, run_id: str | None) -> None:
        """A client follows a run, or without `run_id` a thread, from now on."""

    def stream_closed(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        """A stream ended, or its client left, `seconds` after it was opened."""

    def first_event(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        """A stream sent its first event, `seconds` after it was opened."""

    def gap(self, thread_id: str, run_id: str | None) -> None:
        """A stream told its client that events were trimmed before they were sent."""

    def resumed(self, thread_id: str, run_id: str | None) -> None:
        """A client came back to a stream and named the last event that it had."""

    # ── In a worker ─────────────────────────────────────────────────────────────────────────

    def claimed(self, claim: Claim, wait_ms: int) -> None:
        """A run was claimed, `wait_ms` after it was due."""

    def appended(self, count: int, size: int) -> None:
        """One write stored `count` events of `size` bytes."""

    def renewed(self, count: int) -> None:
        """One heartbeat renewed `count` leases. Called in the heartbeat's thread."""

    def handed_back(self, claim: Claim) -> None:
        """A run was given up for another worker to go on with; it costs no attempt."""

    def ended(self, claim: Claim, status: RunStatus) -> None:
        """The end of a run was written. A run that nobody held ends without this."""

    # ── In both ─────────────────────────────────────────────────────────────────────────────

    def outage(self, seconds: float) -> None:
        """Redis answers again, `seconds` after it stopped. May be called in the heartbeat's thread."""
