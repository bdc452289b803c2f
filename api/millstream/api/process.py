"""The objects that live as long as an API process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from millstream.api.auth.authentication import (
    Authentication,
    OpenAuthentication,
    without_authentication,
)
from millstream.api.auth.run_authenticator import RunAuthenticator
from millstream.api.graph_schemas import SchemaCache
from millstream.api.limits.caller_limits import ProcessLimits
from millstream.api.limits.rates import RateLimiter
from millstream.api.mcp.host import McpHost
from millstream.shared.assistants import GraphDirectory
from millstream.shared.checks import at_start
from millstream.shared.events.hub import StreamHub
from millstream.shared.figures import FiguresCache
from millstream.shared.langgraph_json.http import HttpSettings
from millstream.shared.metrics.loop_lag import watch_loop
from millstream.shared.metrics.metrics import NO_METRICS, Metrics
from millstream.shared.observer import UNOBSERVED, RunObserver, safe
from millstream.shared.permissions import PermissionMonitor, Role
from millstream.shared.redis import Client, connect
from millstream.shared.redis.clients import API_BLOCKING_CONNECTIONS
from millstream.shared.rules import cron_schedule
from millstream.shared.sealing import open_key_ring
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import UNTRACED, RunTracer

REPLY_TIMEOUT: Final = 5.0  # s; short enough that clients get an error before their own timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Settings, connections and caches. Use cases get it from their RequestContext."""

    settings: Settings
    http: HttpSettings
    redis: Client
    blocking: Client  # for commands that wait without a timeout
    directory: GraphDirectory
    hub: StreamHub
    access: PermissionMonitor
    graph_schemas: SchemaCache
    figures: FiguresCache
    mcp: McpHost
    observer: RunObserver
    tracer: RunTracer
    metrics: Metrics
    auth: Authentication
    limits: ProcessLimits

    def shut_down(self) -> None:
        """Ends all open streams, because the process is about to stop."""
        self.hub.shut_down()


@asynccontextmanager
async def open_process(
    settings: Settings,
    http: HttpSettings,
    observer: RunObserver = UNOBSERVED,
    tracer: RunTracer = UNTRACED,
    metrics: Metrics = NO_METRICS,
    open_auth: OpenAuthentication = without_authentication,
) -> AsyncIterator[Process]:
    """Connects to Redis and reads streams inside of the block. Closes everything at its end."""
    key_ring = open_key_ring(settings)
    redis = connect(
        settings.redis_url,
        connections=settings.redis_max_connections,
        reply_timeout=REPLY_TIMEOUT,
        on_reply=metrics.on_reply,
        key_ring=key_ring,
    )
    observer = safe(observer)
    blocking = connect(
        settings.redis_url,
        connections=API_BLOCKING_CONNECTIONS,
        reply_timeout=None,
        key_ring=key_ring,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tracer.aclose)
        stack.push_async_callback(redis.aclose)
        stack.push_async_callback(blocking.aclose)
        auth = await stack.enter_async_context(open_auth(settings, redis))
        if auth.is_on:
            authenticators = (RunAuthenticator(redis), *auth.authenticators)
            auth = replace(auth, authenticators=authenticators)
        process = Process(
            settings=settings,
            http=http,
            redis=redis,
            blocking=blocking,
            directory=GraphDirectory(redis),
            hub=StreamHub(redis, blocking, observer.outage),
            access=PermissionMonitor(redis, Role.API),
            graph_schemas=SchemaCache(),
            figures=FiguresCache(redis),
            mcp=McpHost(),
            observer=observer,
            tracer=tracer,
            metrics=metrics,
            auth=auth,
            limits=ProcessLimits(RateLimiter(redis, settings), settings),
        )
        stack.push_async_callback(process.hub.close)
        stack.push_async_callback(process.mcp.close)
        process.hub.start()
        # Loads the time zones in a thread: the first cron would block all streams.
        await asyncio.to_thread(cron_schedule.zones)
        watching = [at_start.report(redis), process.access.watch()]
        if metrics.are_on:
            watching.append(watch_loop(observer))
        checking = asyncio.gather(*watching)
        try:
            yield process
        finally:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
