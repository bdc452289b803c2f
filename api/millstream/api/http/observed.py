"""The span of a request and its report to the observer, from its arrival until its answer is sent."""

import time
from collections.abc import Iterable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from millstream.api.http.context import SPAN, trace_of
from millstream.api.http.endpoint import Endpoint
from millstream.api.http.guarded import guarded
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.tracing.tracer import UNTRACED, RunTracer

OTHER_METHOD: Final = "_OTHER"  # source: OpenTelemetry's convention
CLIENT_LEFT: Final = 499  # no status of HTTP; nginx logs the same


def routes_of(
    endpoints: Iterable[Endpoint],
    tracer: RunTracer,
    observer: RunObserver = UNOBSERVED,
    *,
    untraced: Iterable[Endpoint],
) -> list[Route]:
    """Returns the routes of the endpoints. Their requests have spans and are reported, if anything wants that.

    Those of `untraced` have no spans: probes ask every few seconds, and say nothing of a run.
    """
    without = {endpoint.path for endpoint in untraced}
    routes: list[Route] = []
    for endpoint in endpoints:
        its_tracer = UNTRACED if endpoint.path in without else tracer
        if its_tracer is UNTRACED and observer is UNOBSERVED:
            routes.append(Route(endpoint.path, guarded(endpoint), methods=[endpoint.method]))
        else:
            routes.append(ObservedRoute(endpoint, its_tracer, observer))
    return routes


class ObservedRoute(Route):
    """A route whose requests have a span and are reported."""

    def __init__(self, endpoint: Endpoint, tracer: RunTracer, observer: RunObserver) -> None:
        """Args: what the route serves, what makes the spans, and what receives the reports."""
        super().__init__(endpoint.path, guarded(endpoint), methods=[endpoint.method])
        self._tracer = tracer
        self._observer = observer

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request."""
        begun = time.monotonic()
        status = CLIENT_LEFT

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._tracer is UNTRACED:
                await super().handle(scope, receive, noted)
            else:
                await self._trace(scope, receive, noted)
        except HTTPException:  # of the route, about another method
            status = 404  # see problems.py
            raise
        except Exception:
            status = 500  # the outermost middleware answers
            raise
        finally:
            method = scope["method"] if scope["method"] in (self.methods or ()) else OTHER_METHOD
            self._observer.requested(method, self.path, status, time.monotonic() - begun)

    async def _trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request in a span."""
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
