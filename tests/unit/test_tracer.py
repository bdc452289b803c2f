"""The spans that a tracer makes, their parents and links, and what sends them."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from millstream.shared.scripts import Claim
from millstream.shared.tracing import export
from millstream.shared.tracing.context import NO_TRACE, TraceContext
from millstream.shared.tracing.export import Export, ReportedExporter
from millstream.shared.tracing.otel import OtelTracer, RunStamp
from millstream.shared.tracing.spans import RunIds, first_attempt
from millstream.shared.tracing.targets import Target
from millstream.shared.tracing.tracer import NO_SPAN, UNTRACED
from millstream.shared.wire import RunSpec

CLIENT = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=1")
OTHER = TraceContext("00-11111111111111111111111111111111-2222222222222222-01")
SPEC = RunSpec(
    protocol=1,
    run_id="3f0c",
    thread_id="t",
    assistant_id="a",
    graph_id="g",
    queue="q",
    strategy="enqueue",
    temporary=False,
    metadata=b'{"customer":"acme"}',
    kwargs=b"{}",
)


def below(spec: RunSpec, parent: TraceContext) -> RunSpec:
    return msgspec.structs.replace(
        spec, traceparent=parent.traceparent, tracestate=parent.tracestate
    )


def claim(spec: RunSpec, attempt: int = 1, *, first: bool = True) -> Claim:
    return Claim(spec, "t/r", 7, attempt, None, 0, is_first=first, waited_ms=1500)


class Traced:
    """A tracer, and the spans that it has ended."""

    def __init__(self) -> None:
        provider = TracerProvider(id_generator=RunIds(), shutdown_on_exit=False)
        self._memory = InMemorySpanExporter()
        provider.add_span_processor(RunStamp())
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.provider = provider
        self.tracer = OtelTracer(provider.get_tracer("test"), environment="e", release="r")

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._memory.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        [span] = [span for span in self.spans if span.name == name]
        return span


@pytest.fixture
def traced() -> Iterator[Traced]:
    traced = Traced()
    yield traced
    traced.provider.shutdown()


def ids(span: ReadableSpan) -> tuple[int, int]:
    return span.context.trace_id, span.context.span_id


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def carried(parent: TraceContext) -> tuple[int, int]:
    return int(parent.traceparent[3:35], 16), int(parent.traceparent[36:52], 16)


def parent_of(span: ReadableSpan) -> tuple[int, int] | None:
    return None if span.parent is None else (span.parent.trace_id, span.parent.span_id)


def test_an_admission_is_below_the_request_and_gives_the_run_its_trace(traced: Traced) -> None:
    with (
        traced.tracer.request("POST", "/runs", "/runs", CLIENT) as request,
        traced.tracer.admission(below(SPEC, CLIENT)) as admitted,
    ):
        request.set("http.response.status_code", 200)
    server, send = traced.span("POST /runs"), traced.span("send q")
    assert parent_of(server) == carried(CLIENT)
    assert parent_of(send) == ids(server)
    assert carried(TraceContext(admitted.traceparent)) == ids(send)
    assert admitted.tracestate == "a=1"
    assert (server.kind, send.kind) == (SpanKind.SERVER, SpanKind.PRODUCER)
    for span in (server, send):
        assert span.attributes is not None
        assert span.attributes["langfuse.trace.metadata.customer"] == "acme"
        assert span.attributes["langfuse.release"] == "r"
    assert server.attributes is not None
    assert server.attributes["http.response.status_code"] == 200


def test_a_run_of_another_trace_is_in_that_one_and_links_to_the_request(traced: Traced) -> None:
    with (
        traced.tracer.request("POST", "/runs", "/runs", CLIENT),
        traced.tracer.admission(below(SPEC, OTHER)),
    ):
        pass
    send = traced.span("send q")
    assert parent_of(send) == carried(OTHER)
    assert links(send) == [ids(traced.span("POST /runs"))]


def test_without_a_request_the_clients_span_is_the_parent(traced: Traced) -> None:
    """A command on a WebSocket has no span of its own."""
    with traced.tracer.admission(below(SPEC, CLIENT)):
        pass
    assert parent_of(traced.span("send q")) == carried(CLIENT)
    assert links(traced.span("send q")) == []


def test_a_batch_gives_its_request_no_runs_attributes(traced: Traced) -> None:
    with traced.tracer.request("POST", "/runs/batch", "/runs/batch", NO_TRACE):
        for run in "12":
            spec = msgspec.structs.replace(SPEC, run_id=run)
            with traced.tracer.admission(spec, batch=True):
                pass
    server = traced.span("POST /runs/batch")
    assert server.attributes is not None
    assert "millstream.run.id" not in server.attributes
    sent = [span for span in traced.spans if span.name == "send q"]
    assert [parent_of(span) for span in sent] == [ids(server)] * 2


def test_an_overridden_key_of_metadata_is_logged(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    with traced.tracer.admission(msgspec.structs.replace(SPEC, metadata=b'{"run_id":"mine"}')):
        pass
    assert "'run_id'" in caplog.text
    caplog.clear()
    with traced.tracer.admission(SPEC):
        pass
    assert not caplog.records


def test_an_admission_that_fails_has_a_failed_span(traced: Traced) -> None:
    with pytest.raises(ValueError, match="full"), traced.tracer.admission(SPEC):
        raise ValueError("full")
    send = traced.span("send q")
    assert not send.status.is_ok
    assert send.attributes is not None
    assert send.attributes["error.type"] == "ValueError"


@pytest.mark.parametrize("spec", [below(SPEC, CLIENT), SPEC])
def test_attempts_have_one_parent_and_later_ones_link_to_the_first(
    traced: Traced, spec: RunSpec
) -> None:
    for number in (1, 2, 3):
        with traced.tracer.attempt(claim(spec, number, first=number == 1)) as span:
            span.set("millstream.run.outcome", "lease_lost" if number < 3 else "success")
    first, second, third = traced.spans
    assert ids(first) == (first_attempt(spec).trace_id, first_attempt(spec).span_id)
    assert len({ids(span) for span in traced.spans}) == 3
    assert len({span.context.trace_id for span in traced.spans}) == 1
    parent = carried(CLIENT) if spec.traceparent else None
    assert {parent_of(span) for span in traced.spans} == {parent}
    assert [links(span) for span in (first, second, third)] == [[], [ids(first)], [ids(first)]]
    assert second.attributes is not None
    assert second.attributes["millstream.run.attempt"] == 2
    assert second.attributes["millstream.fence"] == 7
    assert second.attributes["millstream.queue.wait"] == 1.5


def test_the_first_attempts_of_two_runs_differ() -> None:
    other = msgspec.structs.replace(SPEC, run_id="other")
    assert first_attempt(SPEC).trace_id != first_attempt(other).trace_id
    assert first_attempt(SPEC).span_id != first_attempt(other).span_id


async def test_every_span_inside_of_an_attempt_is_stamped(traced: Traced) -> None:
    async def node() -> None:
        with traced.provider.get_tracer("project").start_as_current_span("mine"):
            await asyncio.to_thread(in_thread)

    def in_thread() -> None:
        with traced.provider.get_tracer("project").start_as_current_span("in a thread"):
            pass

    with traced.tracer.attempt(claim(SPEC)):
        await asyncio.create_task(node())
        current = traced.tracer.current()
    with traced.tracer.execution(claim(SPEC), current):
        await node()
    with traced.provider.get_tracer("project").start_as_current_span("outside"):
        pass
    inside = [span for span in traced.spans if span.name != "outside"]
    assert len(inside) == 5
    assert len({span.context.trace_id for span in inside}) == 1
    for span in inside:
        assert span.attributes is not None
        assert span.attributes["metadata.customer"] == "acme"
    assert traced.span("outside").attributes == {}
    assert parent_of(inside[-1]) == carried(current)


def test_a_crons_run_has_a_new_trace_with_a_link(traced: Traced) -> None:
    with traced.tracer.firing(below(SPEC, CLIENT)) as (spec, span):
        span.set("millstream.cron.result", "admitted")
    send = traced.span("send q")
    assert send.parent is None
    assert send.context.trace_id != carried(CLIENT)[0]
    assert links(send) == [carried(CLIENT)]
    assert carried(TraceContext(spec.traceparent)) == ids(send)
    with traced.tracer.firing(SPEC):
        pass
    assert links(traced.spans[-1]) == []


def test_a_webhook_links_to_the_attempt_or_else_to_the_admission(traced: Traced) -> None:
    spec = below(SPEC, CLIENT)
    for attempt in (1, 0):
        with traced.tracer.delivery(spec, attempt, "https://u:p@host.example/x?key=1") as span:
            assert traced.tracer.current().traceparent
            span.fail("HTTP 500")
    of_attempt, of_admission = traced.spans
    first = first_attempt(spec)
    assert links(of_attempt) == [(first.trace_id, first.span_id)]
    assert links(of_admission) == [carried(CLIENT)]
    assert of_attempt.attributes is not None
    assert of_attempt.attributes["server.address"] == "host.example"
    assert not any("key=1" in str(value) for value in of_attempt.attributes.values())
    assert not of_attempt.status.is_ok


async def test_where_nothing_is_traced_specs_stay_as_they_are() -> None:
    spec = below(SPEC, CLIENT)
    with UNTRACED.admission(spec) as admitted, UNTRACED.attempt(claim(spec)) as span:
        assert admitted is spec
        assert span is NO_SPAN
    with UNTRACED.firing(spec) as (fired, _):
        assert fired == SPEC  # a cron's run is not below the request that created the cron
    assert UNTRACED.current() == NO_TRACE
    await UNTRACED.aclose()


# ── What sends the spans ─────────────────────────────────────────────────────


class Silent(SpanExporter):
    """A target that fails, or does not answer for a while."""

    def __init__(self, result: SpanExportResult, seconds: float = 0) -> None:
        self.result = result
        self._seconds = seconds

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        time.sleep(self._seconds)
        return self.result


def some_spans(traced: Traced) -> list[ReadableSpan]:
    with traced.tracer.attempt(claim(SPEC)):
        pass
    return traced.spans


def test_a_target_that_fails_is_logged_once_and_again_after_a_minute(
    traced: Traced, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    exporter = Silent(SpanExportResult.FAILURE)
    reported = ReportedExporter(exporter, Target("PHOENIX", "http://p.example", {"k": "secret"}))
    spans = some_spans(traced)
    for _ in range(5):
        reported.export(spans)
    [line] = caplog.messages
    assert "do not reach PHOENIX at http://p.example: 1 spans are lost" in line
    monkeypatch.setattr(export, "AGAIN", 0.0)
    reported.export(spans)
    assert "5 spans are lost" in caplog.messages[-1]
    exporter.result = SpanExportResult.SUCCESS
    reported.export(spans)
    reported.export(spans)
    assert caplog.messages[2:] == ["traces reach PHOENIX again"]


async def test_a_silent_target_does_not_hold_up_the_end(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(export, "SEND_WITHIN", 0.2)
    processor = BatchSpanProcessor(Silent(SpanExportResult.SUCCESS, seconds=2))
    for span in some_spans(traced):
        processor.on_end(span)
    begun = time.monotonic()
    await Export([processor]).aclose()
    assert time.monotonic() - begun < 1.5
    assert "not sent within" in caplog.text


async def test_the_spans_that_are_left_are_sent_at_the_end(traced: Traced) -> None:
    memory = InMemorySpanExporter()
    processor = BatchSpanProcessor(memory, schedule_delay_millis=60_000)
    for span in some_spans(traced):
        processor.on_end(span)
    assert not memory.get_finished_spans()
    await Export([processor]).flush()
    assert len(memory.get_finished_spans()) == 1
    processor.on_end(traced.spans[0])
    await Export([processor]).aclose()
    assert len(memory.get_finished_spans()) == 2
