"""The metrics of a process that records them: one registry, no files that processes share."""

import threading
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from itertools import chain
from types import MappingProxyType
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    Metric,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
    start_http_server,
)

from millstream.shared.errors import SettingError
from millstream.shared.figures import Figures
from millstream.shared.metrics import catalogue as names
from millstream.shared.metrics.deployment import families
from millstream.shared.metrics.instruments import gauge
from millstream.shared.metrics.metrics import Listener, Metrics
from millstream.shared.metrics.platform_names import aliases, json_form
from millstream.shared.metrics.recorders import ApiRecorder, Recorder, WorkerRecorder
from millstream.shared.settings import Settings
from millstream.shared.wire import PROTOCOL


def api_metrics(settings: Settings) -> Metrics:
    """Returns the metrics of an API."""
    registry = _registry("api")
    labels = {
        "project_id": settings.project_id,
        "revision_id": settings.revision_id,
        "deployment_type": settings.deployment_type,
    }
    return RecordedMetrics(registry, ApiRecorder(registry), settings.metric_prefix, labels)


def worker_metrics(settings: Settings, graphs: Mapping[str, str]) -> Metrics:
    """Returns the metrics of a worker that executes these graphs, each from its queue and from the worker's."""
    registry = _registry("worker")
    recorder = WorkerRecorder(registry)
    recorder.learn(graphs)
    for queue in settings.queues:
        recorder.learn(dict.fromkeys(graphs, queue))
    return RecordedMetrics(registry, recorder)


def _registry(role: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    gauge(registry, names.BUILD).labels(version("millstream"), str(PROTOCOL), role).set(1)
    return registry


class RecordedMetrics(Metrics):
    """The metrics in one registry."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(
        self,
        registry: CollectorRegistry,
        recorder: Recorder,
        prefix: str = "",
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`recorder` has its metrics in the registry. With a prefix, `text` has those of LangGraph's server too,
        whose series have these labels."""
        super().__init__()
        self._registry = registry
        self._prefix = prefix
        self._labels = labels
        self._recorder = recorder
        self.observer = recorder
        self.on_reply = recorder.on_reply

    def text(self, figures: Figures | None) -> bytes:
        """See Metrics."""
        if figures is not None:
            self._recorder.learn(figures.graphs)
        recorded = list(self._registry.collect())
        more = aliases(self._prefix, self._labels, figures, recorded) if self._prefix else ()
        return generate_latest(_Families(chain(recorded, families(figures), more)))

    def json(self, figures: Figures | None) -> dict[str, Any]:
        """See Metrics."""
        return json_form(figures, self._registry.collect())

    def serve(self, host: str, port: int) -> Listener:
        """See Metrics."""
        return _WorkerListener(self._registry, host, port)


class _Families:
    """Metrics in the form that prometheus-client takes."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class _WorkerListener(Listener):
    """The HTTP server of a worker."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        try:
            self._server, _ = start_http_server(port, host, registry)
        except OSError as error:
            raise SettingError(
                f"METRICS_PORT={port}: the worker can't listen on {host}: {error.strerror}. Each worker of a machine "
                "needs a port of its own."
            ) from None
        self.port = self._server.server_port

    def close(self) -> None:
        """See Listener."""
        # In a thread, because it waits for the server's loop.
        threading.Thread(target=self._end, name="metrics", daemon=True).start()

    def _end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
