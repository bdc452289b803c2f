"""The span of a request, from its arrival until its answer is sent."""

from collections.abc import Iterable

from starlette.requests import HTTPConnection
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from millstream.api.http.context import SPAN, trace_of
from millstream.api.http.openapi import Endpoint
from millstream.shared.tracing.tracer import UNTRACED, RunTracer


def routes_of(
    endpoints: Iterable[Endpoint], tracer: RunTracer, *, untraced: Iterable[Endpoint]
) -> list[Route]:
    """Returns the routes of the endpoints; their requests have spans if anything is traced.

    Those of `untraced` have none: probes ask every few seconds, and say nothing of a run.
    """
    without = {endpoint.path for endpoint in untraced}
    return [
        Route(e.path, e.handler, methods=[e.method])
        if tracer is UNTRACED or e.path in without
        else TracedRoute(e, tracer)
        for e in endpoints
    ]


class TracedRoute(Route):
    """A route whose requests have a span."""

    def __init__(self, endpoint: Endpoint, tracer: RunTracer) -> None:
        """Args: what the route serves, and what makes the spans."""
        super().__init__(endpoint.path, endpoint.handler, methods=[endpoint.method])
        self._tracer = tracer

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request."""
        caller = trace_of(HTTPConnection(scope))
        with self._tracer.request(scope["method"], self.path, scope["path"], caller) as span:
            scope[SPAN] = self._tracer.current()

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set("http.response.status_code", status)
                    if status >= 500:
                        span.fail(f"HTTP {status}")
                await send(message)

            await super().handle(scope, receive, noted)
