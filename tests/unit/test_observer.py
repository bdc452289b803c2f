"""The observer that is held where nobody observes."""

import inspect
from typing import Any

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
