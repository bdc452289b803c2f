"""A receiver of traces: OTLP over HTTP, decoded with OpenTelemetry's own protocol buffers."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from harness.waiting import until
from harness.webhook_receiver import Receiver

SECONDS = 30.0  # enough for a process to start on a busy machine


@dataclass(frozen=True)
class ReceivedSpan:
    """One span. Ids are hexadecimal; an absent parent is ''."""

    name: str
    kind: str  # SERVER, PRODUCER, CONSUMER, CLIENT or INTERNAL
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    links: list[tuple[str, str]]  # trace id, span id
    failed: bool
    nanoseconds: int
    resource: dict[str, Any]


class TraceReceiver(Receiver):
    """A receiver whose spans can be waited for; several targets may have paths of their own on it."""

    def spans(self, path: str = "/v1/traces") -> list[ReceivedSpan]:
        """Returns the spans that arrived at the path."""
        return [
            span
            for request in list(self.requests)
            if request.path == path
            for span in _decoded(request.body)
        ]

    async def trace_with(
        self, trace_id: str, *names: str, path: str = "/v1/traces"
    ) -> list[ReceivedSpan]:
        """Waits until the trace has spans of these names; returns all of its spans."""

        def arrived() -> list[ReceivedSpan]:
            spans = [span for span in self.spans(path) if span.trace_id == trace_id]
            return spans if {*names} <= {span.name for span in spans} else []

        spans: list[ReceivedSpan] = await until(
            arrived,
            within=SECONDS,
            what=f"{names} in {[(s.name, s.trace_id == trace_id) for s in self.spans(path)]}",
        )
        return spans

    async def span_of(self, run_id: str, name: str) -> ReceivedSpan:
        """Waits for the newest span of the name that belongs to the run."""

        def arrived() -> list[ReceivedSpan]:
            return [
                span
                for span in self.spans()
                if span.name == name and span.attributes.get("millstream.run.id") == run_id
            ]

        spans = await until(arrived, within=SECONDS, what=f"{name} of run {run_id}")
        newest: ReceivedSpan = spans[-1]
        return newest


@cache
def _decoded(body: bytes) -> list[ReceivedSpan]:
    return [
        _span(span, _values(of_resource.resource.attributes))
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _span(span: Span, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_values(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        nanoseconds=span.end_time_unix_nano - span.start_time_unix_nano,
        resource=resource,
    )


def _values(entries: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(entries)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)
