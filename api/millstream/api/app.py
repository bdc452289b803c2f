"""create_app(): the routes, what lives as long as the process, and what handles errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route, WebSocketRoute

from millstream.api.http import openapi, problems
from millstream.api.mcp.routes import McpHost
from millstream.api.protocol import websocket
from millstream.api.routes import EVENTS, served
from millstream.shared.assistants import GraphDirectory
from millstream.shared.events.hub import StreamHub
from millstream.shared.langgraph_json.http import HttpSettings
from millstream.shared.permissions import PermissionMonitor
from millstream.shared.redis import connect, server_checks
from millstream.shared.rules import cron_schedule
from millstream.shared.settings import Settings

REPLY_TIMEOUT = 5.0  # s: a client is told that Redis is away before it gives up itself


def create_app(settings: Settings, http: HttpSettings | None = None) -> Starlette:
    """Returns the application; it connects to Redis when it starts.

    What surrounds it, CORS, a prefix and a project's own routes, is in surroundings.py.
    """
    http = http or HttpSettings()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        redis = connect(
            settings.redis_url,
            connections=settings.redis_max_connections,
            reply_timeout=REPLY_TIMEOUT,
        )
        blocking = connect(settings.redis_url, connections=128, reply_timeout=None)
        app.state.settings = settings
        app.state.http = http
        app.state.redis = redis
        app.state.blocking = blocking
        app.state.graphs = GraphDirectory(redis)
        app.state.hub = StreamHub(redis, blocking)
        app.state.hub.start()
        app.state.mcp = McpHost()
        app.state.graph_schemas = {}
        app.state.access = PermissionMonitor(redis)
        await asyncio.to_thread(
            cron_schedule.zones
        )  # else the first cron would hold up all streams
        checking = asyncio.gather(server_checks.report(redis), app.state.access.watch())
        try:
            yield
        finally:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
            await app.state.mcp.close()
            await app.state.hub.close()
            await blocking.aclose()
            await redis.aclose()

    endpoints = served(http)
    routes: list[BaseRoute] = [Route(e.path, e.handler, methods=[e.method]) for e in endpoints]
    if not http.disable_runs:
        routes += [WebSocketRoute(path, websocket.connect) for path in EVENTS]
    if not http.disable_meta:
        routes += openapi.routes(endpoints)
    return Starlette(routes=routes, exception_handlers=problems.HANDLERS, lifespan=lifespan)
