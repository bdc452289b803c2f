"""Every metric: its name, kind, labels and meaning. What records them, the documentation and the tests read this list.

Units are base units (seconds, bytes). The names of HTTP are those of OpenTelemetry's convention
(https://opentelemetry.io/docs/specs/semconv/http/http-metrics/).
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["gauge", "counter", "histogram"]
# Which process exposes it. `redis`: each API, with the same value, as it reads it from Redis.
Source = Literal["redis", "api", "worker", "both"]

OTHER: Final = "other"  # the label of a queue or graph that the process does not know

WAITS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
RUNS: Final = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip
STEPS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
)  # fmt: skip
WRITES: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Source: the convention above.
REQUESTS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
SIZES: Final = tuple(float(1024 * 4**power) for power in range(10))  # 1 KiB to 256 MiB


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    kind: Kind
    source: Source
    doc: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


CATALOGUE: Final[dict[str, Metric]] = {}


def _metric(
    source: Source,
    kind: Kind,
    name: str,
    doc: str,
    labels: str = "",
    buckets: tuple[float, ...] = (),
) -> Metric:
    metric = Metric(name, kind, source, doc, tuple(labels.split()), buckets)
    CATALOGUE[name] = metric
    return metric


# ── Of the deployment, read from Redis ──────────────────────────────────────────────────────────

REDIS_UP: Final = _metric(
    "redis", "gauge", "millstream_redis_up",
    "Whether this API could read the metrics of the deployment from Redis; 0: the others of this kind are absent.",
)  # fmt: skip
DUE: Final = _metric(
    "redis", "gauge", "millstream_queue_due_runs",
    "Runs that wait for a worker now, without the unserved ones.", "queue",
)  # fmt: skip
DEFERRED: Final = _metric(
    "redis", "gauge", "millstream_queue_deferred_runs", "Runs that become due later.", "queue"
)
RUNNING: Final = _metric(
    "redis", "gauge", "millstream_queue_running_runs",
    "Runs that a worker holds, or held until its lease lapsed.", "queue",
)  # fmt: skip
DUE_AGE: Final = _metric(
    "redis", "gauge", "millstream_queue_oldest_due_age_seconds",
    "Time since the first of the due runs became due, or since the first lease lapsed; 0 without any.", "queue",
)  # fmt: skip
UNSERVED: Final = _metric(
    "redis", "gauge", "millstream_queue_unserved_runs",
    "Runs that the workers which tried could not execute: they lack the graph, or are too old.", "queue",
)  # fmt: skip
UNSERVED_AGE: Final = _metric(
    "redis", "gauge", "millstream_queue_oldest_unserved_age_seconds",
    "Time since the first of the unserved runs became due; 0 without any.", "queue",
)  # fmt: skip
PAUSED: Final = _metric(
    "redis", "gauge", "millstream_queue_paused",
    "1 while the queue is paused: it gives no run to a worker; else 0.", "queue",
)  # fmt: skip
WAITING: Final = _metric(
    "redis", "gauge", "millstream_threads_waiting_runs",
    "Runs that wait for another run of their thread.",
)  # fmt: skip
WORKERS: Final = _metric(
    "redis", "gauge", "millstream_workers",
    "Workers of the queue. `live`: claims runs; `draining`: claims no more; `lost`: stopped to report in the last "
    "minute, without leaving.", "queue state",
)  # fmt: skip
SLOTS: Final = _metric(
    "redis", "gauge", "millstream_worker_slots",
    "Runs that the live workers of the queue can execute at the same time; a worker of several queues counts in each.",
    "queue",
)  # fmt: skip
BUSY: Final = _metric(
    "redis", "gauge", "millstream_worker_slots_busy",
    "Runs, of whichever queue, that these workers execute.", "queue",
)  # fmt: skip
CALLS_WAITING: Final = _metric(
    "redis", "gauge", "millstream_call_queue_waiting_calls",
    "Calls of APIs that wait for a worker. A queue is `graph:<graph>`, or `store`.", "call_queue",
)  # fmt: skip
WEBHOOKS_DUE: Final = _metric(
    "redis", "gauge", "millstream_webhook_deliveries_due", "Calls of webhooks that are due."
)
WEBHOOKS_AGE: Final = _metric(
    "redis", "gauge", "millstream_webhook_deliveries_oldest_due_age_seconds",
    "Time since the first of the due calls of webhooks became due; 0 without any.",
)  # fmt: skip
CRONS_DUE: Final = _metric("redis", "gauge", "millstream_crons_due", "Crons that are due.")
CRONS_LATE: Final = _metric(
    "redis", "gauge", "millstream_crons_late_seconds",
    "Time since the first of the due crons became due; 0 without any.",
)  # fmt: skip
THREADS: Final = _metric(
    "redis", "gauge", "millstream_threads", "Threads that a search finds.", "status"
)
GARBAGE: Final = _metric(
    "redis", "gauge", "millstream_checkpoint_garbage_threads",
    "Deleted threads whose checkpoints still exist.",
)  # fmt: skip
MEMORY: Final = _metric(
    "redis", "gauge", "millstream_redis_used_memory_bytes",
    "`used_memory` of Redis; absent if its user may not use INFO.",
)  # fmt: skip
MAX_MEMORY: Final = _metric(
    "redis", "gauge", "millstream_redis_maxmemory_bytes",
    "`maxmemory` of Redis; 0: no limit. Absent if its user may not use INFO.",
)  # fmt: skip
EVICTED: Final = _metric(
    "redis", "counter", "millstream_redis_evicted_keys_total",
    "Keys that Redis has evicted since its start; each may be a lost run or thread.",
)  # fmt: skip

# ── Of one API process ──────────────────────────────────────────────────────────────────────────

REQUEST: Final = _metric(
    "api", "histogram", "http_server_request_duration_seconds",
    "Time from a request to the end of its response, which is the end of a stream. Status 499: the client left first.",
    "http_request_method http_route http_response_status_code", REQUESTS,
)  # fmt: skip
STREAMS: Final = _metric(
    "api", "gauge", "millstream_streams_open",
    "Clients that follow a run (streams, `wait`, `join`) or a thread.", "kind",
)  # fmt: skip
STREAM_EVENTS: Final = _metric(
    "api", "counter", "millstream_stream_events_total", "Events sent to clients."
)
STREAM_BYTES: Final = _metric(
    "api", "counter", "millstream_stream_bytes_total", "Bytes of the data of these events."
)
FIRST_EVENT: Final = _metric(
    "api", "histogram", "millstream_stream_first_event_seconds",
    "Time from the request that creates a run until the first event of its graph is sent to the client.",
    buckets=WAITS,
)  # fmt: skip
GAPS: Final = _metric(
    "api", "counter", "millstream_stream_gaps_total",
    "Streams that sent a `gap`, because events were trimmed before they were sent.",
)  # fmt: skip
RESUMES: Final = _metric(
    "api", "counter", "millstream_stream_resumes_total",
    "Streams that a client continued after its last event.",
)  # fmt: skip
SLOW_CLIENTS: Final = _metric(
    "api", "counter", "millstream_stream_slow_clients_total",
    "Streams whose client fell behind the events in memory, so that they were read from Redis again.",
)  # fmt: skip
CALLS: Final = _metric(
    "api", "histogram", "millstream_calls_duration_seconds",
    "Time of a call to a worker, until its reply, its error or its timeout.", "verb", REQUESTS,
)  # fmt: skip

# ── Of one worker process ───────────────────────────────────────────────────────────────────────

WAIT: Final = _metric(
    "worker", "histogram", "millstream_run_wait_seconds",
    "Time from when a run was due until it was claimed. `again`: a worker had held it before.",
    "queue attempt", WAITS,
)  # fmt: skip
ATTEMPTS: Final = _metric(
    "worker", "counter", "millstream_run_attempts_total",
    "Claims of runs, by how the attempt before has ended. `lapsed`: its worker died or stood still; `handed_back`: "
    "its worker drained; `crashed`: the process of the run has died.", "queue reason",
)  # fmt: skip
DURATION: Final = _metric(
    "worker", "histogram", "millstream_run_duration_seconds",
    "Time from the claim of a run to its end, of its last attempt.", "queue graph status", RUNS,
)  # fmt: skip
FINISHED: Final = _metric(
    "worker", "counter", "millstream_runs_finished_total",
    "Runs that ended. A run that is cancelled before a worker claims it is not counted.", "queue graph status",
)  # fmt: skip
EXHAUSTED: Final = _metric(
    "worker", "counter", "millstream_runs_exhausted_total",
    "Runs that ended as `error` because they crashed RUN_MAX_ATTEMPTS times.", "queue graph",
)  # fmt: skip
HANDED_BACK: Final = _metric(
    "worker", "counter", "millstream_runs_handed_back_total",
    "Runs that another worker continues. `drain`: without the loss of an attempt; `crash`: after the process of the "
    "run has died.", "reason",
)  # fmt: skip
LEASES: Final = _metric(
    "worker", "counter", "millstream_leases_lapsed_total",
    "Leases that this worker lost: it stopped the run, or the run's end was refused.",
)  # fmt: skip
FENCED: Final = _metric(
    "worker", "counter", "millstream_fenced_writes_total",
    "Writes that Redis refused because another worker holds the run.", "kind",
)  # fmt: skip
CANCELS: Final = _metric(
    "worker", "counter", "millstream_cancels_total",
    "Runs that ended because of a cancel while a worker held them.", "action",
)  # fmt: skip
STEP: Final = _metric(
    "worker", "histogram", "millstream_step_duration_seconds",
    "Time between two checkpoints of a graph, without its subgraphs. Other checkpointers and the durability `exit` "
    "are not measured.", "graph", STEPS,
)  # fmt: skip
CHECKPOINT_WRITE: Final = _metric(
    "worker", "histogram", "millstream_checkpoint_write_seconds",
    "Time from when a graph has made a checkpoint until it is stored; the events before it go first.", buckets=WRITES,
)  # fmt: skip
CHECKPOINT_BYTES: Final = _metric(
    "worker", "histogram", "millstream_checkpoint_bytes",
    "Size of a stored checkpoint: its record and its new values.", buckets=SIZES,
)  # fmt: skip
EVENTS: Final = _metric(
    "worker", "counter", "millstream_events_published_total", "Events of runs that were stored."
)
EVENT_BYTES: Final = _metric(
    "worker", "counter", "millstream_events_published_bytes_total", "Bytes of these events."
)
FLUSH: Final = _metric(
    "worker", "histogram", "millstream_events_flush_seconds",
    "Time of one write of events, of all runs that had any; the events that a run's end stores are not measured.",
    buckets=WRITES,
)  # fmt: skip
IN_FLIGHT: Final = _metric(
    "worker", "gauge", "millstream_worker_runs_in_flight", "Runs that this worker executes."
)
DRAINING: Final = _metric(
    "worker", "gauge", "millstream_worker_draining", "1 once the worker claims no more runs."
)
HEARTBEAT: Final = _metric(
    "worker", "histogram", "millstream_heartbeat_late_seconds",
    "Time between when the leases were due to be renewed and when they were.", buckets=LAGS,
)  # fmt: skip
WEBHOOKS: Final = _metric(
    "worker", "counter", "millstream_webhook_calls_total",
    "Calls of webhooks. `delivered`: 2xx; `retried`: failed, is called again; `given_up`: failed too long, or 410; "
    "`refused`: the address is not allowed.", "outcome",
)  # fmt: skip
WEBHOOK_SECONDS: Final = _metric(
    "worker", "histogram", "millstream_webhook_call_seconds", "Time of one call.", buckets=REQUESTS
)

# ── Of each process ─────────────────────────────────────────────────────────────────────────────

BUILD: Final = _metric(
    "both", "gauge", "millstream_build_info",
    "1, with the version of Millstream and of its wire protocol.", "version protocol role",
)  # fmt: skip
ADMITTED: Final = _metric(
    "both", "counter", "millstream_runs_admitted_total",
    "Requests for runs; in a worker, those of crons. `rejected`: the request is invalid or contradicts the thread's "
    "runs; `too_deep`: there are QUEUE_MAX_DEPTH runs, or MAX_RUNS_PER_USER of the user. An invalid request has "
    "`other` as labels.",
    "queue graph strategy outcome",
)  # fmt: skip
LAG: Final = _metric(
    "both", "histogram", "millstream_event_loop_lag_seconds",
    "Time by which a timer of the event loop was late: code has blocked it.", buckets=LAGS,
)  # fmt: skip
COMMANDS: Final = _metric(
    "both", "histogram", "millstream_redis_command_duration_seconds",
    "Time until Redis' first reply. A group is what a script changes, `pipeline` (several commands at once), or "
    "`command`. Commands that block are not measured.", "command_group", WRITES,
)  # fmt: skip
DISRUPTIONS: Final = _metric(
    "both", "counter", "millstream_redis_disruptions_total",
    "Times that this process found Redis unavailable, counted once it is available again.",
)  # fmt: skip


def of(*sources: Source) -> list[Metric]:
    """Returns the metrics of these sources, in the order of the list."""
    return [metric for metric in CATALOGUE.values() if metric.source in sources]


TITLES: Final[dict[Source, str]] = {
    "redis": "The deployment: each API reads these from Redis, so all have the same values",
    "api": "One API",
    "worker": "One worker",
    "both": "Each process",
}


def table() -> str:
    """Returns the Markdown tables of all metrics for docs/metrics.md."""
    lines = []
    for source, title in TITLES.items():
        lines += [
            "",
            f"### {title}",
            "",
            "| Metric | Kind | Labels | Meaning |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {m.doc} |"
            for m in of(source)
        ]
    return "\n".join(lines) + "\n"
