"""The observer that does nothing, and what the API reports of a stream."""

import inspect
from typing import Any

import pytest

from millstream.api.stream_watch import StreamWatch
from millstream.shared.events.entries import Entry
from millstream.shared.observer import RunObserver

METHODS = {
    name: method
    for name, method in vars(RunObserver).items()
    if inspect.isfunction(method) and not name.startswith("_")
}


def test_an_observer_may_override_a_few_methods() -> None:
    class Counting(RunObserver):
        def __init__(self) -> None:
            self.renewals = 0

        def renewed(self, count: int, late: float) -> None:
            self.renewals += count

    observer = Counting()
    observer.renewed(2, late=0.0)
    observer.outage(0.5)
    assert observer.renewals == 2


def test_no_method_returns_or_waits_for_anything() -> None:
    assert len(METHODS) > 10
    for name, method in METHODS.items():
        arguments: list[Any] = [None] * (len(inspect.signature(method).parameters) - 1)
        assert getattr(RunObserver(), name)(*arguments) is None
        assert not inspect.iscoroutinefunction(method)


class Streams(RunObserver):
    """Notes what it hears of streams."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def stream_opened(self, thread_id: str, run_id: str | None) -> None:
        self.heard.append(f"opened {thread_id} {run_id}")

    def resumed(self, thread_id: str, run_id: str | None) -> None:
        self.heard.append("resumed")

    def first_event(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.heard.append("first event")

    def gap(self, thread_id: str, run_id: str | None) -> None:
        self.heard.append("gap")

    def stream_closed(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.heard.append("closed")


def entry(number: int, event: bytes) -> Entry:
    return Entry((1, number), event, b"{}")


@pytest.mark.parametrize(
    ("resumed", "pages", "heard"),
    [
        (False, [], ["opened t None", "closed"]),
        (
            False,
            [[entry(1, b"metadata")], [entry(2, b"end")]],
            ["opened t None", "first event", "closed"],
        ),
        (
            True,
            [[entry(4, b"gap")], [entry(5, b"values")]],
            ["opened t None", "resumed", "first event", "gap", "closed"],
        ),
    ],
)
def test_a_stream_reports_each_fact_once(
    resumed: bool, pages: list[list[Entry]], heard: list[str]
) -> None:
    observer = Streams()
    watch = StreamWatch(observer, "t", None, resumed=resumed)
    watch.opened()
    for page in pages:
        watch.sent(page)
    watch.closed()
    assert observer.heard == heard


class Details(RunObserver):
    """Notes what streams sent."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.heard: list[str] = []

    def sent(self, count: int, size: int) -> None:
        self.sizes.append((count, size))

    def first_graph_event(self, thread_id: str, run_id: str | None, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.heard.append("graph")

    def slow_client(self, thread_id: str, run_id: str | None) -> None:
        self.heard.append("slow")


def test_the_first_event_of_the_graph_and_a_slow_client_are_reported_once() -> None:
    observer = Details()
    watch = StreamWatch(observer, "t", "r", begins_run=True)
    watch.opened()
    watch.sent([entry(1, b"metadata")])
    assert observer.heard == []
    watch.sent([entry(2, b"values"), entry(3, b"values")], slow=True)
    watch.sent([entry(4, b"values")], slow=True)
    assert observer.heard == ["slow", "graph"]
    assert observer.sizes == [(1, 2), (2, 4), (1, 2)]


def test_a_stream_that_joins_a_run_reports_no_time_of_the_graph() -> None:
    observer = Details()
    watch = StreamWatch(observer, "t", "r")
    watch.sent([entry(2, b"values")])
    assert observer.heard == []
