"""The metrics of a process: the port, and the choice whether it has any."""

from collections.abc import Mapping
from typing import Any, Final

from millstream.shared.errors import SettingError
from millstream.shared.figures import Figures
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.redis import OnReply
from millstream.shared.settings import Settings


class Metrics:
    """The metrics of a process that has none: the base of those that are recorded.

    Attributes:
        observer: receives the reports of the process.
        on_reply: receives the times of commands of Redis; None if nothing measures them.
    """

    content_type = ""
    on_reply: OnReply | None = None

    def __init__(self) -> None:
        """Records nothing."""
        self.observer: RunObserver = UNOBSERVED

    @property
    def are_on(self) -> bool:
        """Whether anything is recorded."""
        return self.observer is not UNOBSERVED

    def text(self, figures: Figures | None) -> bytes:
        """Returns the metrics of an API in Prometheus' text format.

        Without figures, Redis is unavailable and the metrics of the deployment are absent. May be called in a thread.
        """
        raise NotImplementedError

    def json(self, figures: Figures | None) -> dict[str, Any]:
        """Returns the state of the deployment and the requests of the API, as LangGraph's server does.

        Without figures, Redis is unavailable. May be called in a thread.
        """
        raise NotImplementedError

    def serve(self, host: str, port: int) -> "Listener":
        """Serves the metrics of a worker until the listener is closed; raises SettingError if it can't."""
        raise NotImplementedError


class Listener:
    """What serves the metrics of a worker, in threads of its own: code that blocks the event loop delays no scrape."""

    port: int

    def close(self) -> None:
        """Ends it soon; waits for nothing."""


NO_METRICS: Final = Metrics()


def open_api_metrics(settings: Settings) -> Metrics:
    """Returns the metrics of an API; raises SettingError if they are on and can't be recorded."""
    if not _are_enabled(settings):
        return NO_METRICS
    from millstream.shared.metrics.recorded import api_metrics

    return api_metrics(settings)


def open_worker_metrics(settings: Settings, graphs: Mapping[str, str]) -> Metrics:
    """Returns the metrics of a worker, which executes these graphs from these queues; raises SettingError as above.

    A worker without METRICS_PORT has none, because nothing could read them.
    """
    if not settings.metrics_port or not _are_enabled(settings):
        return NO_METRICS
    from millstream.shared.metrics.recorded import worker_metrics

    return worker_metrics(settings, graphs)


def _are_enabled(settings: Settings) -> bool:
    """Returns whether the process has metrics; imports prometheus-client only if they are not switched off."""
    if settings.metrics in ("false", "0"):
        return False
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        if settings.metrics == "auto":
            return False
        raise SettingError(
            f"ENABLE_PROMETHEUS_METRICS needs more packages ({error}): pip install 'millstream[metrics]'"
        ) from None
    return True
