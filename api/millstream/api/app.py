"""create_app(): connects the routes, the process and the responses to errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, WebSocketRoute

from millstream.api.auth.authentication import OpenAuthentication, without_authentication
from millstream.api.auth.middleware import AuthenticationMiddleware
from millstream.api.http import docs_page, problems
from millstream.api.http.context import attach, process_of_scope
from millstream.api.http.limits import CallerLimitsMiddleware, RateLimits
from millstream.api.http.observed import routes_of
from millstream.api.http.own_webhooks import OwnWebhooks
from millstream.api.process import open_process
from millstream.api.reference import REFERENCE
from millstream.api.routes import ALWAYS, enabled_endpoints, enabled_sockets
from millstream.shared.langgraph_json.auth import OpenApiSecurity
from millstream.shared.langgraph_json.http import HttpSettings
from millstream.shared.metrics.metrics import NO_METRICS, Metrics
from millstream.shared.observer import UNOBSERVED, RunObserver, safe
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import UNTRACED, RunTracer


def create_app(
    settings: Settings,
    http: HttpSettings | None = None,
    observer: RunObserver = UNOBSERVED,
    tracer: RunTracer = UNTRACED,
    metrics: Metrics = NO_METRICS,
    open_auth: OpenAuthentication = without_authentication,
    security: OpenApiSecurity | None = None,
) -> Starlette:
    """Returns the application, which connects to Redis when it starts.

    http/middleware.py adds CORS, a prefix and a project's routes. The observer receives reports of runs and streams.
    The tracer makes spans of requests and runs. The metrics are at `/metrics`. `open_auth` opens what authenticates
    requests; `security` describes it in openapi.json.
    """
    http = http or HttpSettings()
    observer = safe(observer, metrics.observer)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_process(settings, http, observer, tracer, metrics, open_auth) as process:
            attach(app, process)
            yield

    endpoints = enabled_endpoints(http)
    routes: list[BaseRoute] = [*routes_of(endpoints, tracer, observer, untraced=ALWAYS)]
    routes += [WebSocketRoute(path, handler) for path, handler in enabled_sockets(http)]
    if not http.disable_meta:
        routes += docs_page.routes(endpoints, REFERENCE, security)
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(OwnWebhooks),
            Middleware(CallerLimitsMiddleware, process_of=process_of_scope),
            Middleware(
                AuthenticationMiddleware, process_of=process_of_scope, routes=lambda: routes
            ),
            Middleware(RateLimits, process_of=process_of_scope, endpoints=endpoints),
        ],
        exception_handlers=problems.HANDLERS,
        lifespan=lifespan,
    )
