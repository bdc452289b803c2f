"""Sends spans to several targets at once; one that can't be reached costs a line in the log, and its spans."""

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)

from millstream.shared.tracing.targets import Target

log = logging.getLogger(__name__)

SEND_WITHIN: Final = (
    3.0  # s for the spans that are left when a process stops, or a run's process has nothing to do
)
AGAIN: Final = 60.0  # s after which a target that still can't be reached is logged again
CONSOLE_DELAY_MS: Final = 500
# Of the target GENERIC; OpenTelemetry's exporter would send them to every target.
GENERIC_HEADERS: Final = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
EXPORTER_LOG: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class Export:
    """The processors of one process that send spans, each to one target and in a thread of its own."""

    def __init__(self, processors: Sequence[SpanProcessor] = ()) -> None:
        """Sends nothing by itself: the processors do."""
        self._processors = processors

    async def flush(self) -> None:
        """Returns when the spans that have ended are sent, or SEND_WITHIN is over."""
        await _each([each.force_flush for each in self._processors])

    async def aclose(self) -> None:
        """Returns when the last spans are sent, or SEND_WITHIN is over; no more are sent."""
        await _each([each.shutdown for each in self._processors])


NO_EXPORT: Final = Export()


async def _each(calls: Sequence[Callable[[], object]]) -> None:
    """Returns when all calls have returned, or SEND_WITHIN is over.

    Each is made in a thread of its own that the process does not wait for at its end. The threads of the event loop
    may all be held by nodes.
    """
    loop = asyncio.get_running_loop()
    done = [asyncio.Event() for _ in calls]

    def run(call: Callable[[], object], event: asyncio.Event) -> None:
        try:
            call()
        except Exception:
            log.exception("spans could not be sent")
        with suppress(RuntimeError):  # the loop has ended, as it waits no longer than SEND_WITHIN
            loop.call_soon_threadsafe(event.set)

    for call, event in zip(calls, done, strict=True):
        threading.Thread(target=run, args=(call, event), name="spans", daemon=True).start()
    try:
        async with asyncio.timeout(SEND_WITHIN):
            for event in done:
                await event.wait()
    except TimeoutError:
        log.warning("some spans were not sent within %g s", SEND_WITHIN)


class ReportedExporter(SpanExporter):
    """An exporter whose failures are logged once a minute, with the number of spans that were lost."""

    def __init__(self, exporter: SpanExporter, target: Target) -> None:
        """Args: what sends, and where to."""
        self._exporter = exporter
        self._target = target
        self._logged = -AGAIN
        self._lost = 0  # spans, since the last line in the log

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends the spans."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._logged != -AGAIN:
                log.info("traces reach %s again", self._target.name)
            self._logged = -AGAIN
            return result
        self._lost += len(spans)
        now = time.monotonic()
        if now - self._logged >= AGAIN:
            log.warning(
                "traces do not reach %s at %s: %d spans are lost. Runs are not affected.",
                self._target.name,
                self._target.url or "OTEL_EXPORTER_OTLP_ENDPOINT",
                self._lost,
            )
            self._logged, self._lost = now, 0
        return result

    def shutdown(self) -> None:
        """Ends the attempts to send."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Returns whether nothing is left to send."""
        return self._exporter.force_flush(timeout_millis)


def processors_of(targets: Sequence[Target], *, console: bool) -> list[SpanProcessor]:
    """Returns a processor for each target; `console` adds one that writes to stderr."""
    # Each try of each batch would be a line.
    logging.getLogger(EXPORTER_LOG).setLevel(logging.CRITICAL)
    processors: list[SpanProcessor] = [BatchSpanProcessor(_exporter(each)) for each in targets]
    if console:
        exporter = ConsoleSpanExporter(out=sys.stderr, formatter=_line)
        processors.append(BatchSpanProcessor(exporter, schedule_delay_millis=CONSOLE_DELAY_MS))
    return processors


def _exporter(target: Target) -> SpanExporter:
    if target.url is None:
        return ReportedExporter(OTLPSpanExporter(), target)
    with _without(GENERIC_HEADERS):
        exporter = OTLPSpanExporter(endpoint=target.url, headers=target.headers)
    return ReportedExporter(exporter, target)


@contextmanager
def _without(variables: Sequence[str]) -> Iterator[None]:
    """Has the environment lack the variables inside of the block."""
    removed = {name: os.environ.pop(name) for name in variables if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(removed)


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"
