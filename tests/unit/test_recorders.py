"""Each report changes its series; an API and a worker leave none of their reports out."""

import inspect
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from harness.scraping import Scrape
from millstream.shared.errors import ConflictError, OverloadedError
from millstream.shared.metrics.recorders import ApiRecorder, Recorder, WorkerRecorder
from millstream.shared.observer import RunObserver
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Claim
from millstream.shared.scripts.runs.claim import SCRIPT
from millstream.shared.wire import RunSpec

SPEC = RunSpec(
    protocol=1, run_id="r", thread_id="t", assistant_id="a", graph_id="g", queue="q", strategy="enqueue",
    temporary=False, metadata=b"{}", kwargs=b"{}",
)  # fmt: skip
CLAIM = Claim(SPEC, "t/r", 7, 1, None, 0)
AGAIN = Claim(SPEC, "t/r", 7, 2, None, 0, is_first=False, reason="lapsed")
EXHAUSTED = Claim(SPEC, "t/r", 7, 4, None, 0, is_first=False, exhausted=True)
RUN = {"queue": "q", "graph": "g"}
ADMITTED = "millstream_runs_admitted_total"
# Class, method, arguments, series with their labels and by how much they grow.
REPORTS: list[tuple[type[Recorder], str, tuple[Any, ...], list[tuple[str, dict[str, str], float]]]] = [
    (ApiRecorder, "requested", ("GET", "/ok", 200, 0.2), [
        ("http_server_request_duration_seconds_sum", {"http_route": "/ok"}, 0.2),
        ("http_server_request_duration_seconds_bucket", {"http_route": "/ok", "le": "0.25"}, 1),
        ("http_server_request_duration_seconds_bucket", {"http_route": "/ok", "le": "0.1"}, 0),
    ]),
    (ApiRecorder, "admitted", (SPEC, 0), [(ADMITTED, {**RUN, "strategy": "enqueue", "outcome": "accepted"}, 1)]),
    (WorkerRecorder, "admitted", (SPEC, 0), [(ADMITTED, {**RUN, "outcome": "accepted"}, 1)]),
    (ApiRecorder, "rejected", ("?", ValueError()), [(ADMITTED, {"queue": "other", "outcome": "rejected"}, 1)]),
    (ApiRecorder, "rejected", ("a", ConflictError(""), SPEC), [(ADMITTED, {**RUN, "outcome": "rejected"}, 1)]),
    (ApiRecorder, "rejected", ("a", OverloadedError(""), SPEC), [(ADMITTED, {**RUN, "outcome": "too_deep"}, 1)]),
    (ApiRecorder, "stream_opened", ("t", "r"), [("millstream_streams_open", {"kind": "run"}, 1)]),
    (ApiRecorder, "stream_opened", ("t", None), [("millstream_streams_open", {"kind": "thread"}, 1)]),
    (ApiRecorder, "stream_closed", ("t", "r", 1.0), [("millstream_streams_open", {"kind": "run"}, -1)]),
    (ApiRecorder, "first_graph_event", ("t", "r", 0.3), [("millstream_stream_first_event_seconds_sum", {}, 0.3)]),
    (ApiRecorder, "sent", (3, 90), [
        ("millstream_stream_events_total", {}, 3), ("millstream_stream_bytes_total", {}, 90),
    ]),
    (ApiRecorder, "slow_client", ("t", "r"), [("millstream_stream_slow_clients_total", {}, 1)]),
    (ApiRecorder, "gap", ("t", "r"), [("millstream_stream_gaps_total", {}, 1)]),
    (ApiRecorder, "resumed", ("t", "r"), [("millstream_stream_resumes_total", {}, 1)]),
    (ApiRecorder, "called", ("state", 0.1), [("millstream_calls_duration_seconds_count", {"verb": "state"}, 1)]),
    (WorkerRecorder, "claimed", (CLAIM, 2000), [
        ("millstream_run_wait_seconds_sum", {"queue": "q", "attempt": "first"}, 2),
        ("millstream_run_attempts_total", {"queue": "q", "reason": "first"}, 1),
        ("millstream_worker_runs_in_flight", {}, 1),
    ]),
    (WorkerRecorder, "claimed", (AGAIN, 0), [
        ("millstream_run_wait_seconds_count", {"attempt": "again"}, 1),
        ("millstream_run_attempts_total", {"reason": "lapsed"}, 1),
    ]),
    (WorkerRecorder, "released", (CLAIM,), [("millstream_worker_runs_in_flight", {}, -1)]),
    (WorkerRecorder, "appended", (2, 50, 0.01), [
        ("millstream_events_published_total", {}, 2), ("millstream_events_published_bytes_total", {}, 50),
        ("millstream_events_flush_seconds_count", {}, 1),
    ]),
    (WorkerRecorder, "appended_at_end", (2, 50), [
        ("millstream_events_published_total", {}, 2), ("millstream_events_flush_seconds_count", {}, 0),
    ]),
    (WorkerRecorder, "write_refused", ("checkpoint",), [("millstream_fenced_writes_total", {"kind": "checkpoint"}, 1)]),
    (WorkerRecorder, "step_ended", ("g", 0.5), [("millstream_step_duration_seconds_sum", {"graph": "g"}, 0.5)]),
    (WorkerRecorder, "step_ended", ("gone", 0.5), [("millstream_step_duration_seconds_sum", {"graph": "other"}, 0.5)]),
    (WorkerRecorder, "checkpoint_stored", (2000, 0.5), [
        ("millstream_checkpoint_write_seconds_sum", {}, 0.5), ("millstream_checkpoint_bytes_sum", {}, 2000),
    ]),
    (WorkerRecorder, "renewed", (3, 0.2), [("millstream_heartbeat_late_seconds_sum", {}, 0.2)]),
    (WorkerRecorder, "lease_lost", (CLAIM,), [("millstream_leases_lapsed_total", {}, 1)]),
    (WorkerRecorder, "handed_back", (CLAIM,), [("millstream_runs_handed_back_total", {"reason": "drain"}, 1)]),
    (WorkerRecorder, "crashed", (CLAIM,), [("millstream_runs_handed_back_total", {"reason": "crash"}, 1)]),
    (WorkerRecorder, "cancelled", (CLAIM, CancelAction.ROLLBACK), [
        ("millstream_cancels_total", {"action": "rollback"}, 1),
    ]),
    (WorkerRecorder, "ended", (CLAIM, RunStatus.SUCCESS, 3.0), [
        ("millstream_runs_finished_total", {**RUN, "status": "success"}, 1),
        ("millstream_run_duration_seconds_sum", {**RUN, "status": "success"}, 3),
        ("millstream_runs_exhausted_total", RUN, 0),
    ]),
    (WorkerRecorder, "ended", (EXHAUSTED, RunStatus.ERROR, 3.0), [("millstream_runs_exhausted_total", RUN, 1)]),
    (WorkerRecorder, "draining", (), [("millstream_worker_draining", {}, 1)]),
    (WorkerRecorder, "webhook_called", ("retried", 0.5), [
        ("millstream_webhook_calls_total", {"outcome": "retried"}, 1),
        ("millstream_webhook_call_seconds_sum", {}, 0.5),
    ]),
    (ApiRecorder, "loop_lag", (0.2,), [("millstream_event_loop_lag_seconds_sum", {}, 0.2)]),
    (ApiRecorder, "outage", (3.0,), [("millstream_redis_disruptions_total", {}, 1)]),
    (ApiRecorder, "on_reply", ("EVALSHA", SCRIPT.sha, 0.1), [
        ("millstream_redis_command_duration_seconds_sum", {"command_group": "runs"}, 0.1),
    ]),
    (ApiRecorder, "on_reply", ("HGETALL", "ms:x", 0.1), [
        ("millstream_redis_command_duration_seconds_count", {"command_group": "command"}, 1),
    ]),
    (ApiRecorder, "on_reply", ("", "", 0.1), [
        ("millstream_redis_command_duration_seconds_count", {"command_group": "pipeline"}, 1),
    ]),
]  # fmt: skip
# Reports about streams that have no series of their own.
UNRECORDED = {"first_event"}


@pytest.mark.parametrize(("kind", "method", "arguments", "series"), REPORTS)
def test_a_report_changes_its_series(
    kind: type[Recorder],
    method: str,
    arguments: tuple[Any, ...],
    series: list[tuple[str, dict[str, str], float]],
) -> None:
    registry = CollectorRegistry()
    recorder = kind(registry)
    recorder.learn({"g": "q"})
    before = Scrape(generate_latest(registry).decode())
    getattr(recorder, method)(*arguments)
    after = Scrape(generate_latest(registry).decode())
    for name, labels, growth in series:
        # A series of HTTP or of an unknown graph does not exist before.
        known = before.value(name, **labels) if before.has(name, **labels) else 0.0
        assert after.value(name, **labels) - known == pytest.approx(growth), name


def test_each_report_is_recorded() -> None:
    reports = {
        name
        for name, method in vars(RunObserver).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }
    tested = {method for _, method, _, _ in REPORTS}
    assert tested - {"on_reply"} == reports - UNRECORDED
