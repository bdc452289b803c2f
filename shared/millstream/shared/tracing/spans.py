"""Ids of spans that follow from the run, so that other spans can link to them without a record.

A second attempt links to the first, and a webhook to the run, though the worker that made that span may have died
without a word. So the first attempt of a run has a span id that follows from the run's id, and where no trace came with
the request, its trace id does too. Nothing has to be stored.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from millstream.shared.tracing.context import TraceContext
from millstream.shared.wire import RunSpec

_PROPAGATOR: Final = TraceContextTextMapPropagator()
# The ids of the span that is just being started; 0 for one at random.
_chosen: ContextVar[tuple[int, int]] = ContextVar("chosen ids", default=(0, 0))


class RunIds(RandomIdGenerator):
    """Ids at random, except inside of `chosen_ids`."""

    def generate_trace_id(self) -> int:
        """Returns the id of a new trace."""
        return _chosen.get()[0] or super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Returns the id of a new span."""
        return _chosen.get()[1] or super().generate_span_id()


@contextmanager
def chosen_ids(*, trace_id: int = 0, span_id: int = 0) -> Iterator[None]:
    """Gives the span that is started inside of the block these ids; 0 for one at random."""
    token = _chosen.set((trace_id, span_id))
    try:
        yield
    finally:
        _chosen.reset(token)


def parent_of(spec: RunSpec) -> Context:
    """Returns a context in which the run's trace is the current one; an empty one if it has none."""
    return context_of(TraceContext(spec.traceparent, spec.tracestate))


def context_of(carried: TraceContext) -> Context:
    """Returns a context in which a span of another process is the current one."""
    carrier = {"traceparent": carried.traceparent, "tracestate": carried.tracestate}
    return _PROPAGATOR.extract(carrier, context=Context())


def carried_of(context: Context | None = None) -> TraceContext:
    """Returns the current span, of this context or the caller's, for another process."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=context)
    return TraceContext(carrier.get("traceparent", ""), carrier.get("tracestate", ""))


def span_context_of(context: Context | None = None) -> SpanContext:
    """Returns the identity of the current span; one that is not valid for none."""
    return trace.get_current_span(context).get_span_context()


def first_attempt(spec: RunSpec) -> SpanContext:
    """Returns the identity of the span of the run's first attempt."""
    parent = span_context_of(parent_of(spec))
    if parent.is_valid:
        trace_id, flags = parent.trace_id, parent.trace_flags
    else:
        trace_id, flags = _derived("trace", spec.run_id, 16), TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(trace_id, _derived("attempt", spec.run_id, 8), True, flags)


def _derived(purpose: str, run_id: str, size: int) -> int:
    digest = hashlib.sha256(f"{purpose} of {run_id}".encode()).digest()
    return int.from_bytes(digest[:size], "big") or 1  # 0 is invalid
