"""`/mcp/`: the routes of MCP, and the start of its server with the first request."""

import asyncio
import importlib.util

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from millstream.api.body import settings_of
from millstream.api.problems import problem

MISSING = 'MCP is not installed here: pip install "millstream[mcp]".'


class McpHost:
    """The server of MCP, in a task of its own; none until it is asked for."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._starting = asyncio.Lock()
        self._server: ASGIApp | None = None
        self._task: asyncio.Task[None] | None = None

    async def server(self, max_body: int) -> ASGIApp:
        """Returns the server, which is started first if need be."""
        async with self._starting:
            if self._server is None:
                ready: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._run(ready, max_body))
                self._server = await ready
        return self._server

    async def _run(self, ready: "asyncio.Future[ASGIApp]", max_body: int) -> None:
        # It is imported here: half a second, and memory, for those alone who use it.
        try:
            from millstream.api.mcp_server import McpServer

            async with McpServer(max_body).running() as server:
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


class _Passed(Response):
    """An answer that another application gives."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        await self.app(scope, receive, send)


async def post(request: Request) -> Response:
    """`POST /mcp/`: a message of the Model Context Protocol. Each assistant is a tool."""
    if importlib.util.find_spec("mcp") is None:
        return problem(404, MISSING)
    host: McpHost = request.app.state.mcp
    return _Passed(await host.server(settings_of(request).max_body))


async def get(_: Request) -> Response:
    """`GET /mcp/`: 405, for the server sends nothing unasked."""
    return problem(405, "This server sends nothing unasked: use POST.", {"allow": "POST"})


async def delete(_: Request) -> Response:
    """`DELETE /mcp/`: 404, for there are no sessions."""
    return problem(404, "There are no sessions: each request stands for itself.")
