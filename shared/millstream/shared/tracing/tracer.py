"""The seam where spans attach: what surrounds requests, admissions, attempts of runs, crons and webhooks.

An observer (observer.py) gets reports of what happened. A tracer is entered around it, because spans inside must find
their parent. Each process has one tracer. Its methods never raise and never block.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

import msgspec

from millstream.shared.errors import SettingError
from millstream.shared.scripts import Claim
from millstream.shared.settings import Settings
from millstream.shared.tracing.context import NO_TRACE, TraceContext
from millstream.shared.wire import RunSpec


class Span:
    """A span, for the code inside of it to add to. This one records nothing."""

    def set(self, name: str, value: str | int) -> None:
        """Adds an attribute."""

    def fail(self, reason: str) -> None:
        """Marks it as failed."""


NO_SPAN: Final = Span()


class RunTracer:
    """Traces nothing: the base of the tracer that does. Each method is entered with `with`."""

    # ── In the API ──────────────────────────────────────────────────────────────────────────

    def request(
        self, method: str, route: str, path: str, caller: TraceContext
    ) -> AbstractContextManager[Span]:
        """Surrounds a request of a client, whose own span is `caller`; `route` has no values in it."""
        return nullcontext(NO_SPAN)

    def admission(self, spec: RunSpec, *, batch: bool = False) -> AbstractContextManager[RunSpec]:
        """Surrounds the admission of a run. Yields the spec to admit, with the trace that its attempts belong to."""
        return nullcontext(spec)

    # ── In a worker ─────────────────────────────────────────────────────────────────────────

    def firing(self, spec: RunSpec) -> AbstractContextManager[tuple[RunSpec, Span]]:
        """Surrounds the admission of a cron's run, which has a trace of its own. Yields the spec to admit."""
        return nullcontext((_without_trace(spec), NO_SPAN))

    def attempt(self, claim: Claim) -> AbstractContextManager[Span]:
        """Surrounds an attempt of a run, from its claim to its end."""
        return nullcontext(NO_SPAN)

    def execution(self, claim: Claim, attempt: TraceContext) -> AbstractContextManager[None]:
        """Surrounds the graph of an attempt that another process has claimed; `attempt` is its span."""
        return nullcontext()

    def delivery(self, spec: RunSpec, attempt: int, url: str) -> AbstractContextManager[Span]:
        """Surrounds the call of a webhook for a run that ended with this attempt."""
        return nullcontext(NO_SPAN)

    # ── In both ─────────────────────────────────────────────────────────────────────────────

    def current(self) -> TraceContext:
        """Returns the span that surrounds the caller, for another process to continue."""
        return NO_TRACE

    def traceparent(self) -> str:
        """Returns the span that surrounds the caller, for lines of the log; '' for none."""
        return self.current().traceparent

    async def flush(self) -> None:
        """Sends the spans that have ended, within a bound."""

    async def aclose(self) -> None:
        """Sends the spans that have ended, within a bound, and makes no more."""


UNTRACED: Final = RunTracer()  # what is held where nothing is traced


def open_tracer(settings: Settings, *, graphs: bool = False) -> RunTracer:
    """Returns the tracer that the settings ask for; it imports OpenTelemetry only if they do.

    Args:
        settings: which targets receive spans.
        graphs: whether graphs are executed in this process, so that their nodes and models get spans.

    Raises SettingError if the packages are not installed.
    """
    if not settings.is_traced:
        return UNTRACED
    try:
        from millstream.shared.tracing.opening import open_traced
    except ImportError as error:
        raise SettingError(
            f"OTEL_TARGETS and OTEL_CONSOLE_EXPORT need more packages ({error}): pip install 'millstream[otel]'"
        ) from None
    return open_traced(settings, graphs=graphs)


def _without_trace(spec: RunSpec) -> RunSpec:
    """Returns the spec of a cron's run without the trace of the request that created the cron."""
    return msgspec.structs.replace(spec, traceparent="", tracestate="")
