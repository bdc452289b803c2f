"""Makes the objects of prometheus-client that hold the values of one process."""

from collections.abc import Iterable
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from millstream.shared.metrics.catalogue import Metric

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each counter that nothing reads


def counter(registry: CollectorRegistry, metric: Metric) -> Counter:
    """Returns a counter at 0."""
    return Counter(metric.name, metric.doc, metric.labels, registry=registry)


def gauge(registry: CollectorRegistry, metric: Metric) -> Gauge:
    """Returns a gauge at 0."""
    return Gauge(metric.name, metric.doc, metric.labels, registry=registry)


def histogram(registry: CollectorRegistry, metric: Metric) -> Histogram:
    """Returns a histogram without values."""
    return Histogram(
        metric.name, metric.doc, metric.labels, registry=registry, buckets=metric.buckets
    )


class Children(dict[tuple[str, ...], Any]):
    """The series of an instrument by their labels: prometheus-client's own look-up takes longer than the change."""

    def __init__(self, instrument: Any) -> None:
        """Has no series yet."""
        super().__init__()
        self._instrument = instrument

    def __missing__(self, labels: tuple[str, ...]) -> Any:
        """Creates the series with these labels, at 0."""
        child = self[labels] = self._instrument.labels(*labels)
        return child


def prepare(children: Children, *labels: Iterable[str]) -> None:
    """Creates a series at 0 for each combination of labels: `rate()` misses the first increase of a new series."""
    for values in product(*labels):
        children[values]
