"""Puts the parts of OpenTelemetry together, as the settings say."""

import os
from importlib.metadata import version
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from millstream.shared.settings import Settings
from millstream.shared.tracing.export import Export, processors_of
from millstream.shared.tracing.otel import OtelTracer, RunStamp
from millstream.shared.tracing.spans import RunIds
from millstream.shared.tracing.targets import targets_of
from millstream.shared.tracing.tracer import RunTracer

NAME: Final = "millstream"
LIMITS: Final = ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT")


def open_traced(settings: Settings, *, graphs: bool) -> RunTracer:
    """Returns a tracer that sends spans; see tracer.open_tracer for the arguments.

    OpenTelemetry's global provider is the tracer's, so that spans of the project's code belong to the trace of its
    run. A project that has set one of its own keeps it; the spans go to the targets too.
    """
    provider = TracerProvider(
        resource=Resource.create(_resource(settings)),
        id_generator=RunIds(),
        span_limits=_limits(),
        shutdown_on_exit=False,  # it would hold up the exit of a process for as long as a target is silent
    )
    processors = [RunStamp(), *processors_of(targets_of(settings), console=settings.console)]
    for each in processors:
        provider.add_span_processor(each)
    projects = trace.get_tracer_provider()
    if isinstance(projects, TracerProvider):
        for each in processors:
            projects.add_span_processor(each)
    else:
        trace.set_tracer_provider(provider)
    if graphs:
        _trace_graphs(provider)
    return OtelTracer(
        provider.get_tracer(NAME, version(NAME)),
        environment=settings.trace_environment,
        release=settings.trace_release,
        with_identity=settings.traces_identity,
        export=Export(processors[1:]),
    )


def _resource(settings: Settings) -> dict[str, str]:
    described = {
        "service.name": settings.otel_service,
        "service.version": settings.trace_release or version(NAME),
        "deployment.environment": settings.trace_environment,
        "deployment.environment.name": settings.trace_environment,
    }
    return {name: value for name, value in described.items() if value}


def _limits() -> SpanLimits:
    """Returns limits without a number of attributes, unless the environment has one.

    A model call has several attributes for each message. At the default of 128 the oldest are dropped, which are the
    run's own.
    """
    if any(os.environ.get(name) for name in LIMITS):
        return SpanLimits()
    return SpanLimits(max_span_attributes=SpanLimits.UNSET)


def _trace_graphs(provider: TracerProvider) -> None:
    """Gives each graph, node, model call and tool a span."""
    from openinference.instrumentation.langchain import LangChainInstrumentor

    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    # Else each start and each end of a node takes one of the threads that synchronous nodes run in.
    if (tracer := getattr(instrumentor, "_tracer", None)) is not None:
        tracer.run_inline = True
