"""Which processes have metrics, and what a process without them imports."""

import sys

import pytest

from harness.scraping import free_port
from millstream.shared.errors import SettingError
from millstream.shared.metrics.metrics import (
    NO_METRICS,
    open_api_metrics,
    open_worker_metrics,
)
from millstream.shared.settings import Settings


def settings(**environ: str) -> Settings:
    return Settings.from_env(environ)


@pytest.mark.parametrize("value", ["false", "0", "False"])
def test_metrics_that_are_switched_off_do_not_exist(value: str) -> None:
    off = settings(ENABLE_PROMETHEUS_METRICS=value, METRICS_PORT="9464")
    assert open_api_metrics(off) is NO_METRICS
    assert open_worker_metrics(off, {}) is NO_METRICS
    assert not NO_METRICS.are_on


def test_a_worker_without_a_port_has_none() -> None:
    assert open_worker_metrics(settings(), {}) is NO_METRICS
    assert open_worker_metrics(settings(METRICS_PORT="9464"), {}).are_on
    assert open_api_metrics(settings()).are_on


def test_without_the_package_auto_has_none_and_true_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert open_api_metrics(settings()) is NO_METRICS
    with pytest.raises(SettingError, match=r"millstream\[metrics\]"):
        open_api_metrics(settings(ENABLE_PROMETHEUS_METRICS="true"))


def test_a_port_that_is_taken_is_an_error_that_names_the_setting() -> None:
    port = free_port()
    first = open_worker_metrics(settings(METRICS_PORT=str(port)), {}).serve("127.0.0.1", port)
    try:
        assert first.port == port
        with pytest.raises(SettingError, match=f"METRICS_PORT={port}"):
            open_worker_metrics(settings(METRICS_PORT=str(port)), {}).serve("127.0.0.1", port)
    finally:
        first.close()
