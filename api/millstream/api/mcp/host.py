"""Runs the MCP server in its own task, from the first request on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context

from starlette.types import ASGIApp

Start = Callable[[], Awaitable[AbstractAsyncContextManager[ASGIApp]]]


class McpHost:
    """Holds the server, which the first request starts."""

    def __init__(self) -> None:
        """Creates the host without a server."""
        self._stop = asyncio.Event()
        self._starting = asyncio.Lock()
        self._server: ASGIApp | None = None
        self._task: asyncio.Task[None] | None = None

    async def server(self, start: Start) -> ASGIApp:
        """Returns the server, which the first call starts. Raises what `start` raises."""
        async with self._starting:
            if self._server is None:
                ready: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(
                    self._run(ready, start),
                    context=Context(),  # it outlives the request, whose span must not be its own
                )
                self._server = await ready
        return self._server

    async def _run(self, ready: "asyncio.Future[ASGIApp]", start: Start) -> None:
        try:
            async with await start() as server:
                ready.set_result(server)
                await self._stop.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def close(self) -> None:
        """Stops the server."""
        self._stop.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
