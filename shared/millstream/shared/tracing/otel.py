"""The tracer that makes spans with OpenTelemetry.

Names and attributes of spans follow its conventions for HTTP servers and for messaging.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from millstream.shared.scripts import Claim
from millstream.shared.tracing.attributes import overridden_metadata, run_attributes
from millstream.shared.tracing.context import TraceContext
from millstream.shared.tracing.export import NO_EXPORT, Export
from millstream.shared.tracing.spans import (
    carried_of,
    chosen_ids,
    context_of,
    first_attempt,
    parent_of,
    span_context_of,
)
from millstream.shared.tracing.tracer import RunTracer, Span
from millstream.shared.wire import RunSpec

log = logging.getLogger(__name__)

SYSTEM: Final = "millstream"  # messaging.system
RUN: Final = "millstream-run"  # in a context: the attributes of every span of the run
REQUEST: Final = "millstream-request"  # in a context: the span of the request, under which a protocol may have its own
METADATA: Final = "metadata"  # in a context: what OpenInference joins with LangChain's metadata


class RunStamp(SpanProcessor):
    """Gives every span of a run the run's attributes, also those of the project's code."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Called as a span begins."""
        stamp = otel_context.get_value(RUN, parent_context)
        if isinstance(stamp, dict):
            span.set_attributes(stamp)

    def on_end(self, span: ReadableSpan) -> None:
        """Called as a span ends."""


class OtelSpan(Span):
    """A span of OpenTelemetry."""

    def __init__(self, span: trace.Span) -> None:
        """Args: the span, which somebody else ends."""
        self._span = span

    def set(self, name: str, value: str | int) -> None:
        """Adds an attribute."""
        self._span.set_attribute(name, value)

    def fail(self, reason: str) -> None:
        """Marks it as failed."""
        self._span.set_status(Status(StatusCode.ERROR, reason))


class OtelTracer(RunTracer):
    """Makes spans, and hands them to the processors of a provider.

    Args:
        tracer: of a provider with RunStamp and RunIds.
        environment: of the deployment, '' for none.
        release: of the project, '' for none.
        with_identity: whether spans name the user that a run is executed for.
        export: what sends the spans.
    """

    def __init__(
        self,
        tracer: Tracer,
        *,
        environment: str = "",
        release: str = "",
        with_identity: bool = True,
        export: Export = NO_EXPORT,
    ) -> None:
        """Makes no span yet."""
        self._tracer = tracer
        self._environment = environment
        self._release = release
        self._with_identity = with_identity
        self._export = export

    @contextmanager
    def request(self, method: str, route: str, path: str, caller: TraceContext) -> Iterator[Span]:
        """Surrounds a request of a client, below the span that surrounds it here or else its client's."""
        parent = otel_context.get_current() if span_context_of().is_valid else context_of(caller)
        attributes = {
            "http.request.method": method,
            "http.route": route,
            "url.path": path,
            "langfuse.observation.type": "span",
        }
        with self._start(f"{method} {route}", SpanKind.SERVER, parent, attributes) as span:
            request = otel_context.set_value(REQUEST, trace.get_current_span())
            token = otel_context.attach(request)
            try:
                yield span
            finally:
                otel_context.detach(token)

    @contextmanager
    def admission(self, spec: RunSpec, *, batch: bool = False) -> Iterator[RunSpec]:
        """Surrounds the admission of a run, whose span is the parent of its attempts' spans.

        It is below the request's span. A client that names another trace than the request's gets the run in that one,
        with a link to the request.
        """
        parent, links = otel_context.get_current(), []
        request = span_context_of()
        if spec.traceparent and format(request.trace_id, "032x") != _carried(spec).trace_id:
            parent = parent_of(spec)
            links = [Link(request)] if request.is_valid else []
        stamp = self._stamp(spec)
        if not batch:
            for span in {trace.get_current_span(), otel_context.get_value(REQUEST)}:
                if isinstance(span, trace.Span) and span.is_recording():
                    span.set_attributes(stamp)
        for key in overridden_metadata(spec):
            log.warning(
                "run %s: the spans have the server's own %r, not that of the run's metadata",
                spec.run_id,
                key,
            )
        with self._sending(spec, stamp, parent, links) as (admitted, _):
            yield admitted

    @contextmanager
    def firing(self, spec: RunSpec) -> Iterator[tuple[RunSpec, Span]]:
        """Surrounds the admission of a cron's run; its trace is a new one, with a link to the cron's request."""
        creator = span_context_of(parent_of(spec))
        links = [Link(creator)] if creator.is_valid else []
        with self._sending(spec, self._stamp(spec), Context(), links) as sent:
            yield sent

    @contextmanager
    def attempt(self, claim: Claim) -> Iterator[Span]:
        """Surrounds an attempt; one that is not the first links to the first."""
        spec, first = claim.spec, first_attempt(claim.spec)
        attributes = {
            **_messaging(spec, "process"),
            "millstream.run.attempt": claim.attempt,
            "millstream.fence": claim.fence,
            "millstream.queue.wait": claim.waited_ms / 1000,  # s
            "langfuse.observation.type": "agent",
            "openinference.span.kind": "AGENT",
        }
        with self._start(
            f"process {spec.queue}",
            SpanKind.CONSUMER,
            _with_stamp(parent_of(spec), self._stamp(spec)),
            attributes,
            links=[] if claim.is_first else [Link(first)],
            trace_id=first.trace_id,
            span_id=first.span_id if claim.is_first else 0,
        ) as span:
            yield span

    @contextmanager
    def execution(self, claim: Claim, attempt: TraceContext) -> Iterator[None]:
        """Surrounds a graph that this process executes for another one, below that one's span."""
        token = otel_context.attach(_with_stamp(context_of(attempt), self._stamp(claim.spec)))
        try:
            yield
        finally:
            otel_context.detach(token)

    @contextmanager
    def delivery(self, spec: RunSpec, attempt: int, url: str) -> Iterator[Span]:
        """Surrounds the call of a webhook; its trace is a new one, with a link to the run."""
        # A run that no worker has claimed has no attempt.
        run = first_attempt(spec) if attempt else span_context_of(parent_of(spec))
        attributes = {
            "http.request.method": "POST",
            "server.address": urlsplit(url).hostname or "",  # the rest of a URL may be a secret
            "langfuse.observation.type": "span",
        }
        with self._start(
            "POST webhook",
            SpanKind.CLIENT,
            _with_stamp(Context(), self._stamp(spec)),
            attributes,
            links=[Link(run)] if run.is_valid else [],
        ) as span:
            yield span

    def current(self) -> TraceContext:
        """Returns the span that surrounds the caller."""
        return carried_of()

    async def flush(self) -> None:
        """Sends the spans that have ended."""
        await self._export.flush()

    async def aclose(self) -> None:
        """Sends the spans that have ended, and makes no more."""
        await self._export.aclose()

    def _stamp(self, spec: RunSpec) -> Mapping[str, AttributeValue]:
        return run_attributes(
            spec,
            environment=self._environment,
            release=self._release,
            with_identity=self._with_identity,
        )

    @contextmanager
    def _sending(
        self,
        spec: RunSpec,
        stamp: Mapping[str, AttributeValue],
        parent: Context,
        links: list[Link],
    ) -> Iterator[tuple[RunSpec, Span]]:
        attributes = {**_messaging(spec, "send"), "langfuse.observation.type": "span"}
        context = _with_stamp(parent, stamp)
        name = f"send {spec.queue}"
        with self._start(name, SpanKind.PRODUCER, context, attributes, links=links) as span:
            carried = carried_of()
            sent = msgspec.structs.replace(
                spec, traceparent=carried.traceparent, tracestate=carried.tracestate
            )
            yield sent, span

    @contextmanager
    def _start(
        self,
        name: str,
        kind: SpanKind,
        parent: Context,
        attributes: Mapping[str, AttributeValue],
        *,
        links: list[Link] | None = None,
        trace_id: int = 0,
        span_id: int = 0,
    ) -> Iterator[Span]:
        with chosen_ids(trace_id=trace_id, span_id=span_id):
            span = self._tracer.start_span(name, parent, kind, attributes, links)
        token = otel_context.attach(trace.set_span_in_context(span, parent))
        try:
            yield OtelSpan(span)
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR, str(error)))
            raise
        finally:
            otel_context.detach(token)
            span.end()


def _with_stamp(context: Context, stamp: Mapping[str, AttributeValue]) -> Context:
    context = otel_context.set_value(RUN, stamp, context)
    return otel_context.set_value(METADATA, stamp[METADATA], context)


def _messaging(spec: RunSpec, operation: str) -> dict[str, Any]:
    """Returns what OpenTelemetry's conventions for messaging say of a run in its queue."""
    return {
        "messaging.system": SYSTEM,
        "messaging.destination.name": spec.queue,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.message.id": spec.run_id,
    }


def _carried(spec: RunSpec) -> TraceContext:
    return TraceContext(spec.traceparent, spec.tracestate)
