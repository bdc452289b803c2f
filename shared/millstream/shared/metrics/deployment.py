"""The metrics of the deployment: what each API reads from Redis at a scrape, the same in each."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from millstream.shared.figures import Figures, QueueFigures
from millstream.shared.metrics import catalogue as names
from millstream.shared.metrics.catalogue import Metric

Family = GaugeMetricFamily | CounterMetricFamily
Samples = list[tuple[tuple[str, ...], float]]  # labels, value


def families(figures: Figures | None) -> Iterator[Family]:
    """Yields the metrics; without figures, only that Redis is unavailable."""
    yield _family(names.REDIS_UP, [((), 0 if figures is None else 1)])
    if figures is not None:
        for metric, samples in _values(figures):
            yield _family(metric, samples)


def _family(metric: Metric, samples: Samples) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: Family = kind(metric.name, metric.doc, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _values(figures: Figures) -> Iterator[tuple[Metric, Samples]]:
    for metric, field in (
        (names.DUE, "due"),
        (names.DEFERRED, "deferred"),
        (names.RUNNING, "running"),
        (names.DUE_AGE, "oldest_due_age"),
        (names.UNSERVED, "unserved"),
        (names.UNSERVED_AGE, "oldest_unserved_age"),
        (names.PAUSED, "paused"),
        (names.SLOTS, "slots"),
        (names.BUSY, "busy_slots"),
    ):
        yield metric, [((name,), getattr(q, field)) for name, q in figures.queues.items()]
    yield (
        names.WORKERS,
        [
            ((name, state), count)
            for name, queue in figures.queues.items()
            for state, count in _workers(queue).items()
        ],
    )
    yield names.WAITING, [((), figures.waiting)]
    yield names.CALLS_WAITING, [((name,), n) for name, n in figures.call_queues.items()]
    yield names.WEBHOOKS_DUE, [((), figures.webhooks.due)]
    yield names.WEBHOOKS_AGE, [((), figures.webhooks.oldest_age)]
    yield names.CRONS_DUE, [((), figures.crons.due)]
    yield names.CRONS_LATE, [((), figures.crons.oldest_age)]
    yield names.THREADS, [((status,), count) for status, count in figures.threads.items()]
    yield names.GARBAGE, [((), figures.garbage)]
    for metric, field in (
        (names.MEMORY, "used_memory"),
        (names.MAX_MEMORY, "maxmemory"),
        (names.EVICTED, "evicted_keys"),
    ):
        if field in figures.memory:
            yield metric, [((), figures.memory[field])]


def _workers(queue: QueueFigures) -> dict[str, int]:
    return {"live": queue.workers, "draining": queue.draining_workers, "lost": queue.lost_workers}
