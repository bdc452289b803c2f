"""Observers that fail: each is logged, and neither the process nor another observer notices."""

import logging
from typing import Any

import pytest

from millstream.shared.observer import UNOBSERVED, RunObserver, safe


class Recorder(RunObserver):
    def __init__(self) -> None:
        self.outages: list[float] = []

    def outage(self, seconds: float) -> None:
        self.outages.append(seconds)


class Broken(RunObserver):
    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return super().__getattribute__(name)
        raise RuntimeError(name)


METHODS = [name for name in vars(RunObserver) if not name.startswith("_")]


@pytest.mark.parametrize("method", METHODS)
def test_an_observer_that_raises_is_logged(method: str, caplog: pytest.LogCaptureFixture) -> None:
    getattr(safe(Broken()), method)()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"Broken failed in {method}" in caplog.text


def test_all_observers_get_each_report() -> None:
    first, second = Recorder(), Recorder()
    safe(first, Broken(), UNOBSERVED, second).outage(seconds=1.5)
    assert first.outages == second.outages == [1.5]


def test_without_an_observer_nothing_is_wrapped() -> None:
    assert safe() is safe(UNOBSERVED) is UNOBSERVED
