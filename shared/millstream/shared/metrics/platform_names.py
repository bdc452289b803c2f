"""The state of the deployment under the names of LangGraph's server, for dashboards that were made for it.

Source of names, labels and shapes: `GET /metrics` of langgraph-api 0.16. There a worker is what is a slot of a worker
here. The pools of PostgreSQL and Redis and the internal counters of that server have no counterpart.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from millstream.shared.figures import Figures
from millstream.shared.metrics import catalogue as names

# Name → meaning.
GAUGES: Final = {
    "num_pending_runs": "Runs that no worker holds: due, deferred, unserved, or waiting for their thread.",
    "num_running_runs": "Runs that a worker holds.",
    "pending_runs_wait_time_max": "Seconds since the first due or unserved run became due.",
    "pending_runs_wait_time_med": "Seconds since the median of the due runs became due, in the slowest queue.",
    "pending_unblocked_runs_wait_time_max": "Seconds since the first of the due runs became due.",
    "workers_max": "Slots of all live workers.",
    "workers_active": "Slots that execute a run.",
    "workers_available": "Slots that are free.",
}
REQUESTS: Final = "http_requests_total"
LATENCY: Final = "http_requests_latency_seconds"


def queue_of(figures: Figures) -> dict[str, float]:
    """Returns the state of all queues, as `queue` of the JSON form."""
    total = figures.total
    return {
        "n_pending": total.due + total.deferred + total.unserved + figures.waiting,
        "n_running": total.running,
        "pending_runs_wait_time_max_secs": max(total.oldest_due_age, total.oldest_unserved_age),
        "pending_runs_wait_time_med_secs": total.median_due_age,
        "pending_unblocked_runs_wait_time_max_secs": total.oldest_due_age,
    }


def workers_of(figures: Figures) -> dict[str, int]:
    """Returns the slots of all workers, as `workers` of the JSON form."""
    total = figures.total
    free = max(0, total.slots - total.busy_slots)
    return {"max": total.slots, "active": total.busy_slots, "available": free}


class Requests:
    """The requests that the process has answered."""

    def __init__(self, collected: Iterable[Metric]) -> None:
        """`collected` are the metrics of the process."""
        self.counts: Counter[tuple[str, str, str]] = Counter()  # method, path, status
        self.buckets: dict[tuple[str, str], Counter[str]] = {}  # method, path → bound → count
        self.seconds: Counter[tuple[str, str]] = Counter()
        for family in collected:
            if family.name == names.REQUEST.name:
                for sample in family.samples:
                    self._add(sample.name.removeprefix(family.name), sample.labels, sample.value)

    def _add(self, kind: str, labels: Mapping[str, str], value: float) -> None:
        method, path, status = (labels[label] for label in names.REQUEST.labels)
        if kind == "_count":
            self.counts[method, path, status] += int(value)
        elif kind == "_bucket":
            self.buckets.setdefault((method, path), Counter())[labels["le"]] += int(value)
        elif kind == "_sum":
            self.seconds[method, path] += value  # type: ignore[assignment]

    def json(self) -> list[dict[str, Any]]:
        """Returns `api.http_requests_total` of the JSON form."""
        return [
            {"method": method, "path": path, "status": int(status), "count": count}
            for (method, path, status), count in self.counts.items()
        ]


def json_form(figures: Figures | None, collected: Iterable[Metric]) -> dict[str, Any]:
    """Returns the JSON form. Without figures, Redis is unavailable and `queue` and `workers` are absent."""
    form: dict[str, Any] = {"api": {REQUESTS: Requests(collected).json()}}
    if figures is not None:
        form |= {"queue": queue_of(figures), "workers": workers_of(figures)}
    return form


def aliases(
    prefix: str, labels: Mapping[str, str], figures: Figures | None, collected: Iterable[Metric]
) -> Iterator[Metric]:
    """Yields the metrics under the prefix; each series has these labels. Without figures, those of requests alone."""
    common, values = list(labels), list(labels.values())
    if figures is not None:
        numbers = [*queue_of(figures).values(), *workers_of(figures).values()]
        for (name, doc), number in zip(GAUGES.items(), numbers, strict=True):
            gauge = GaugeMetricFamily(prefix + name, doc, labels=common)
            gauge.add_metric(values, number)
            yield gauge
    requests = Requests(collected)
    counter = CounterMetricFamily(
        prefix + REQUESTS, "Requests.", labels=[*common, "method", "path", "status"]
    )
    for key, count in requests.counts.items():
        counter.add_metric([*values, *key], count)
    latency = HistogramMetricFamily(
        prefix + LATENCY, "Time of requests.", labels=[*common, "method", "path"]
    )
    for route, buckets in requests.buckets.items():
        latency.add_metric([*values, *route], list(buckets.items()), requests.seconds[route])
    yield counter
    yield latency
