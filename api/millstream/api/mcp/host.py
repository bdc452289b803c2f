"""The server of MCP in a task of its own, from the first request on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from starlette.types import ASGIApp

Start = Callable[[], Awaitable[AbstractAsyncContextManager[ASGIApp]]]


class McpHost:
    """Holds the server; there is none until a request needs it."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._stop = asyncio.Event()
        self._starting = asyncio.Lock()
        self._server: ASGIApp | None = None
        self._task: asyncio.Task[None] | None = None

    async def server(self, start: Start) -> ASGIApp:
        """Returns the server; the first call starts it. Raises what `start` raises."""
        async with self._starting:
            if self._server is None:
                ready: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._run(ready, start))
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
        """Ends it."""
        self._stop.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
