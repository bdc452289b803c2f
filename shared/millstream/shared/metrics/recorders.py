"""The observers of an API and of a worker: they turn reports into values."""

from collections.abc import Mapping
from typing import Final, get_args

from prometheus_client import CollectorRegistry

from millstream.shared.calls import VERBS
from millstream.shared.errors import OverloadedError
from millstream.shared.metrics import catalogue as names
from millstream.shared.metrics.catalogue import OTHER
from millstream.shared.metrics.instruments import Children, counter, gauge, histogram, prepare
from millstream.shared.observer import RunObserver, WebhookOutcome, WriteKind
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.rules.multitask import CancelAction, Strategy
from millstream.shared.scripts import Claim
from millstream.shared.scripts.runs.claim import ClaimReason
from millstream.shared.scripts.script import SUBJECTS
from millstream.shared.wire import RunSpec

OUTCOMES: Final = ("accepted", "rejected", "too_deep")
PIPELINE: Final = "pipeline"
COMMAND: Final = "command"
MAX_QUEUES: Final = 100  # that have a label of their own


class Recorder(RunObserver):
    """Records what APIs and workers report."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Creates the metrics in the registry."""
        self._admitted = Children(counter(registry, names.ADMITTED))
        prepare(self._admitted, [OTHER], [OTHER], [OTHER], ["rejected"])
        self._lag = histogram(registry, names.LAG)
        self._disruptions = counter(registry, names.DISRUPTIONS)
        commands = histogram(registry, names.COMMANDS)
        groups = {*SUBJECTS.values(), PIPELINE, COMMAND}
        self._commands = {group: commands.labels(group) for group in sorted(groups)}
        self._graphs: dict[str, str] = {}
        self._queues: set[str] = set()

    def learn(self, graphs: Mapping[str, str]) -> None:
        """Creates the series of graphs, each with its queue, that were unknown before."""
        for graph, queue in graphs.items():
            if self._graphs.get(graph) != queue:
                self._graphs[graph] = queue
                self._prepare(graph, queue)

    def _queue(self, name: str) -> str:
        """Returns the label of a queue. Assistants may name any queue, so only the first names get their own."""
        if name not in self._queues and len(self._queues) >= MAX_QUEUES:
            return OTHER
        self._queues.add(name)
        return name

    def _prepare(self, graph: str, queue: str) -> None:
        self._queues.add(queue)
        prepare(self._admitted, [queue], [graph], Strategy, OUTCOMES)

    def on_reply(self, command: str, argument: str, seconds: float) -> None:
        """Records the time of a command of Redis; see redis.connect."""
        group = SUBJECTS.get(argument, COMMAND) if command else PIPELINE
        self._commands[group].observe(seconds)

    def admitted(self, spec: RunSpec, delay_ms: int) -> None:
        """See RunObserver."""
        queue = self._queue(spec.queue)
        self._admitted[queue, spec.graph_id, spec.strategy, "accepted"].inc()

    def loop_lag(self, seconds: float) -> None:
        """See RunObserver."""
        self._lag.observe(seconds)

    def outage(self, seconds: float) -> None:
        """See RunObserver."""
        self._disruptions.inc()


class ApiRecorder(Recorder):
    """Records what an API reports."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Creates the metrics in the registry."""
        super().__init__(registry)
        self._requests = Children(histogram(registry, names.REQUEST))
        self._streams = Children(gauge(registry, names.STREAMS))
        prepare(self._streams, ["run", "thread"])
        self._events = counter(registry, names.STREAM_EVENTS)
        self._bytes = counter(registry, names.STREAM_BYTES)
        self._first_event = histogram(registry, names.FIRST_EVENT)
        self._gaps = counter(registry, names.GAPS)
        self._resumes = counter(registry, names.RESUMES)
        self._slow = counter(registry, names.SLOW_CLIENTS)
        self._calls = Children(histogram(registry, names.CALLS))
        prepare(self._calls, VERBS)

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """See RunObserver."""
        self._requests[method, route, str(status)].observe(seconds)

    def rejected(self, assistant_id: str, error: Exception, spec: RunSpec | None = None) -> None:
        """See RunObserver."""
        if spec is None:
            self._admitted[OTHER, OTHER, OTHER, "rejected"].inc()
        else:
            outcome = "too_deep" if isinstance(error, OverloadedError) else "rejected"
            queue = self._queue(spec.queue)
            self._admitted[queue, spec.graph_id, spec.strategy, outcome].inc()

    def stream_opened(self, thread_id: str, run_id: str | None) -> None:
        """See RunObserver."""
        self._streams["run" if run_id else "thread",].inc()

    def stream_closed(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        """See RunObserver."""
        self._streams["run" if run_id else "thread",].dec()

    def first_graph_event(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        """See RunObserver."""
        self._first_event.observe(seconds)

    def sent(self, count: int, size: int) -> None:
        """See RunObserver."""
        self._events.inc(count)
        self._bytes.inc(size)

    def slow_client(self, thread_id: str, run_id: str | None) -> None:
        """See RunObserver."""
        self._slow.inc()

    def gap(self, thread_id: str, run_id: str | None) -> None:
        """See RunObserver."""
        self._gaps.inc()

    def resumed(self, thread_id: str, run_id: str | None) -> None:
        """See RunObserver."""
        self._resumes.inc()

    def called(self, verb: str, seconds: float) -> None:
        """See RunObserver."""
        self._calls[verb,].observe(seconds)


class WorkerRecorder(Recorder):
    """Records what a worker reports."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Creates the metrics in the registry."""
        super().__init__(registry)
        self._wait = Children(histogram(registry, names.WAIT))
        self._attempts = Children(counter(registry, names.ATTEMPTS))
        self._duration = Children(histogram(registry, names.DURATION))
        self._finished = Children(counter(registry, names.FINISHED))
        self._exhausted = Children(counter(registry, names.EXHAUSTED))
        self._handed_back = Children(counter(registry, names.HANDED_BACK))
        prepare(self._handed_back, ["drain", "crash"])
        self._leases = counter(registry, names.LEASES)
        self._fenced = Children(counter(registry, names.FENCED))
        prepare(self._fenced, get_args(WriteKind))
        self._cancels = Children(counter(registry, names.CANCELS))
        prepare(self._cancels, CancelAction)
        self._step = Children(histogram(registry, names.STEP))
        self._checkpoint_write = histogram(registry, names.CHECKPOINT_WRITE)
        self._checkpoint_bytes = histogram(registry, names.CHECKPOINT_BYTES)
        self._events = counter(registry, names.EVENTS)
        self._event_bytes = counter(registry, names.EVENT_BYTES)
        self._flush = histogram(registry, names.FLUSH)
        self._in_flight = gauge(registry, names.IN_FLIGHT)
        self._draining = gauge(registry, names.DRAINING)
        self._heartbeat = histogram(registry, names.HEARTBEAT)
        self._webhooks = Children(counter(registry, names.WEBHOOKS))
        prepare(self._webhooks, get_args(WebhookOutcome))
        self._webhook_seconds = histogram(registry, names.WEBHOOK_SECONDS)

    def _prepare(self, graph: str, queue: str) -> None:
        super()._prepare(graph, queue)
        statuses = sorted(TERMINAL)
        prepare(self._wait, [queue], ["first", "again"])
        prepare(self._attempts, [queue], get_args(ClaimReason))
        prepare(self._duration, [queue], [graph], statuses)
        prepare(self._finished, [queue], [graph], statuses)
        prepare(self._exhausted, [queue], [graph])
        prepare(self._step, [graph])

    def _graph(self, graph_id: str) -> str:
        """Returns the label of a graph. A worker ends cancelled runs of graphs that it does not have."""
        return graph_id if graph_id in self._graphs else OTHER

    def claimed(self, claim: Claim, wait_ms: int) -> None:
        """See RunObserver."""
        attempt = "first" if claim.is_first else "again"
        queue = self._queue(claim.spec.queue)
        self._wait[queue, attempt].observe(wait_ms / 1000)
        self._attempts[queue, claim.reason].inc()
        self._in_flight.inc()

    def released(self, claim: Claim) -> None:
        """See RunObserver."""
        self._in_flight.dec()

    def ended(self, claim: Claim, status: RunStatus, seconds: float) -> None:
        """See RunObserver."""
        labels = self._queue(claim.spec.queue), self._graph(claim.spec.graph_id)
        self._finished[*labels, status].inc()
        self._duration[*labels, status].observe(seconds)
        if claim.exhausted:
            self._exhausted[labels].inc()

    def handed_back(self, claim: Claim) -> None:
        """See RunObserver."""
        self._handed_back["drain",].inc()

    def crashed(self, claim: Claim) -> None:
        """See RunObserver."""
        self._handed_back["crash",].inc()

    def lease_lost(self, claim: Claim) -> None:
        """See RunObserver."""
        self._leases.inc()

    def write_refused(self, kind: WriteKind) -> None:
        """See RunObserver."""
        self._fenced[kind,].inc()

    def cancelled(self, claim: Claim, action: CancelAction) -> None:
        """See RunObserver."""
        self._cancels[action,].inc()

    def step_ended(self, graph_id: str, seconds: float) -> None:
        """See RunObserver."""
        self._step[self._graph(graph_id),].observe(seconds)

    def checkpoint_stored(self, size: int, seconds: float) -> None:
        """See RunObserver."""
        self._checkpoint_write.observe(seconds)
        self._checkpoint_bytes.observe(size)

    def appended(self, count: int, size: int, seconds: float) -> None:
        """See RunObserver."""
        self.appended_at_end(count, size)
        self._flush.observe(seconds)

    def appended_at_end(self, count: int, size: int) -> None:
        """See RunObserver."""
        self._events.inc(count)
        self._event_bytes.inc(size)

    def draining(self) -> None:
        """See RunObserver."""
        self._draining.set(1)

    def renewed(self, count: int, late: float) -> None:
        """See RunObserver."""
        self._heartbeat.observe(late)

    def webhook_called(self, outcome: WebhookOutcome, seconds: float) -> None:
        """See RunObserver."""
        self._webhooks[outcome,].inc()
        self._webhook_seconds.observe(seconds)
