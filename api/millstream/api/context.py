"""The first argument of each use case: the process that it runs in, and the caller that it acts for."""

from dataclasses import dataclass

import msgspec

from millstream.api.caller import Caller
from millstream.api.process import Process
from millstream.shared.assistants import GraphDirectory
from millstream.shared.events.hub import StreamHub
from millstream.shared.figures import FiguresCache
from millstream.shared.metrics.metrics import Metrics
from millstream.shared.observer import RunObserver
from millstream.shared.redis import Client
from millstream.shared.settings import Settings
from millstream.shared.tracing.context import request_id_of, trace_of_configurable
from millstream.shared.tracing.tracer import RunTracer
from millstream.shared.wire import RunRequest


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request's process and caller, without the request: use cases know no HTTP."""

    process: Process
    caller: Caller

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self.process.settings

    @property
    def redis(self) -> Client:
        """The process' client of Redis, for use cases alone."""
        return self.process.redis

    @property
    def hub(self) -> StreamHub:
        """The process' reader of streams, for use cases alone."""
        return self.process.hub

    @property
    def directory(self) -> GraphDirectory:
        """The assistants and graphs that workers serve."""
        return self.process.directory

    @property
    def figures(self) -> FiguresCache:
        """The state of all queues."""
        return self.process.figures

    @property
    def metrics(self) -> Metrics:
        """The metrics of the process."""
        return self.process.metrics

    @property
    def observer(self) -> RunObserver:
        """Receives reports of runs and streams."""
        return self.process.observer

    @property
    def tracer(self) -> RunTracer:
        """What makes spans of requests and runs."""
        return self.process.tracer

    def traced(self, request: RunRequest) -> RunRequest:
        """Returns the request with its trace and its id: what `configurable` names goes before the headers.

        Raises InvalidError for an invalid entry of `configurable`.
        """
        trace = trace_of_configurable(request.config.configurable) or self.caller.trace
        return msgspec.structs.replace(
            request,
            traceparent=trace.traceparent,
            tracestate=trace.tracestate,
            request_id=request_id_of(self.caller.request_id),
        )

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self.process.hub.closing
