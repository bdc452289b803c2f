"""The seam where metrics, traces and logs attach: what the API and the workers report of runs.

Each process holds one observer and calls it at these points only. A method returns at once and never blocks: it is
called on the event loop, or where its docstring says so in the heartbeat's thread. What it raises is logged and changes
nothing else (`safe`). An observer takes plain data; which library it hands them to is its own affair.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, Literal

from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Claim
from millstream.shared.wire import RunSpec

log = logging.getLogger(__name__)

WriteKind = Literal["events", "checkpoint", "status"]
# 2xx; failed, is called again; failed too long, or 410; the address is not allowed.
WebhookOutcome = Literal["delivered", "retried", "given_up", "refused"]


class RunObserver:
    """Observes nothing: the base of those that do, which override the methods that they need."""

    # ── In the API ──────────────────────────────────────────────────────────────────────────

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered to its end, in `seconds`; `route` has no values in it. Status 499: the client left
        before its response began."""

    def rejected(self, assistant_id: str, error: Exception, spec: RunSpec | None = None) -> None:
        """A request for a run was not admitted; `assistant_id` is as the client named it. Without `spec` the request
        itself is invalid."""

    def stream_opened(self, thread_id: str, run_id: str | None) -> None:
        """A client follows a run, or without `run_id` a thread, from now on."""

    def stream_closed(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        """A stream ended, or its client left, `seconds` after it was opened."""

    def first_event(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        """A stream sent its first event, `seconds` after it was opened."""

    def first_graph_event(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        """A stream that was opened with its run sent the first event of the graph, `seconds` after the request."""

    def sent(self, count: int, size: int) -> None:
        """A stream sent `count` events, whose data have `size` bytes."""

    def slow_client(self, thread_id: str, run_id: str | None) -> None:
        """The client of a stream fell behind the events in memory. Reported once for each stream."""

    def gap(self, thread_id: str, run_id: str | None) -> None:
        """A stream sent a `gap`: events were trimmed before they were sent."""

    def resumed(self, thread_id: str, run_id: str | None) -> None:
        """A client reconnected to a stream with the id of the last event that it had."""

    def called(self, verb: str, seconds: float) -> None:
        """A call to a worker ended after `seconds`: with its reply, an error or a timeout."""

    # ── In a worker ─────────────────────────────────────────────────────────────────────────

    def claimed(self, claim: Claim, wait_ms: int) -> None:
        """A run was claimed, `wait_ms` after it was due."""

    def appended(self, count: int, size: int, seconds: float) -> None:
        """One write, which took `seconds`, stored `count` events of `size` bytes."""

    def appended_at_end(self, count: int, size: int) -> None:
        """The end of a run stored its last `count` events, of `size` bytes."""

    def write_refused(self, kind: WriteKind) -> None:
        """Redis refused a write of a run, because another worker holds it."""

    def step_ended(self, graph_id: str, seconds: float) -> None:
        """A graph made a checkpoint, `seconds` after the one before it. Subgraphs are not reported."""

    def checkpoint_stored(self, size: int, seconds: float) -> None:
        """A checkpoint of `size` bytes was stored by Millstream's checkpointer, `seconds` after its graph made it:
        the events before it go first."""

    def renewed(self, count: int, late: float) -> None:
        """One heartbeat renewed `count` leases, `late` seconds after it was due. Called in the heartbeat's thread."""

    def lease_lost(self, claim: Claim) -> None:
        """A run was stopped, or its end refused, because another worker holds it, or may."""

    def handed_back(self, claim: Claim) -> None:
        """A run was handed back, for another worker to resume; it costs no attempt."""

    def crashed(self, claim: Claim) -> None:
        """The process that executed the run alone has died; the run was handed back, and the attempt counts."""

    def cancelled(self, claim: Claim, action: CancelAction) -> None:
        """The end of a run that was cancelled is written. `ended` is called too."""

    def ended(self, claim: Claim, status: RunStatus, seconds: float) -> None:
        """The end of a run was written, `seconds` after its claim. A run that no worker held ends without this."""

    def released(self, claim: Claim) -> None:
        """This worker does not execute the run any more: it ended, was handed back or was lost."""

    def draining(self) -> None:
        """This worker claims no more runs."""

    def webhook_called(self, outcome: WebhookOutcome, seconds: float) -> None:
        """The call of a webhook took `seconds`."""

    # ── In both ─────────────────────────────────────────────────────────────────────────────

    def admitted(self, spec: RunSpec, delay_ms: int) -> None:
        """A run was admitted, for a client or in a worker for a cron; it is due `delay_ms` later."""

    def loop_lag(self, seconds: float) -> None:
        """A timer of the event loop was late by `seconds`."""

    def outage(self, seconds: float) -> None:
        """Redis answers again, `seconds` after it stopped. May be called in the heartbeat's thread."""


UNOBSERVED: Final = RunObserver()  # used where no observer is installed


class _Safe(RunObserver):
    """Reports to other observers. One that raises keeps the report from no other, and fails no run."""

    def __init__(self, observers: tuple[RunObserver, ...]) -> None:
        self.observers: Final = observers


def _report_of(method: str) -> Callable[..., None]:
    def report(self: _Safe, *args: Any, **kwargs: Any) -> None:
        for observer in self.observers:
            try:
                getattr(observer, method)(*args, **kwargs)
            except Exception:
                log.exception("%s failed in %s", type(observer).__name__, method)

    return report


for _method in (name for name in vars(RunObserver) if not name.startswith("_")):
    setattr(_Safe, _method, _report_of(_method))


def safe(*observers: RunObserver) -> RunObserver:
    """Returns one observer that reports to all of them and never raises; without any, UNOBSERVED."""
    installed = tuple(observer for observer in observers if observer is not UNOBSERVED)
    if len(installed) == 1 and isinstance(installed[0], _Safe):
        return installed[0]
    return _Safe(installed) if installed else UNOBSERVED
