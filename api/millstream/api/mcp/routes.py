"""`/mcp/`: the routes of MCP, and the start of its server with the first request."""

import asyncio
import importlib.util
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millstream.api.http.body import settings_of
from millstream.api.http.problems import problem
from millstream.api.http.sse import KEEPALIVE
from millstream.api.lazy_import import load
from millstream.shared.langgraph_json.http import HttpSettings

NEAR: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MISSING: Final = 'MCP is not installed here: pip install "millstream[mcp]".'


class McpHost:
    """The server of MCP, in a task of its own; none until it is asked for."""

    def __init__(self) -> None:
        """Starts nothing yet."""
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
            await load("millstream.api.mcp.server")
            from millstream.api.mcp.server import McpServer

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
    """An answer that another application gives, with keepalives if it is an event stream."""

    def __init__(self, app: ASGIApp, keepalive: float) -> None:
        self.app = app
        self.background = None
        self._keepalive = keepalive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        speaking = _Speaking(send, self._keepalive)
        try:
            await self.app(scope, receive, speaking.send)
        finally:
            speaking.stop()


class _Speaking:
    """Sends what it is given, and in an event stream that is silent for long a comment."""

    def __init__(self, send: Send, keepalive: float) -> None:
        self._send = send
        self._keepalive = keepalive
        self._beats: asyncio.Task[None] | None = None
        self._said_at = 0.0

    async def send(self, message: Message) -> None:
        """Sends a message of the answer."""
        self._said_at = asyncio.get_running_loop().time()
        if message["type"] == "http.response.start" and _is_stream(message):
            self._beats = asyncio.create_task(self._beat())
        elif not message.get("more_body", True):
            self.stop()
        await self._send(message)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._said_at + self._keepalive - loop.time())
            if loop.time() >= self._said_at + self._keepalive:
                self._said_at = loop.time()
                await self._send(
                    {"type": "http.response.body", "body": KEEPALIVE, "more_body": True}
                )

    def stop(self) -> None:
        """Says nothing more by itself."""
        if self._beats is not None:
            self._beats.cancel()


def _is_stream(message: Message) -> bool:
    headers = dict(message["headers"])
    return bool(headers.get(b"content-type", b"").startswith(b"text/event-stream"))


def _refused(request: Request) -> Response | None:
    """Returns the refusal of a page that may not call this server, None for all others.

    Browsers send a page's origin with its requests. An origin counts if `http.cors` names it, or its pattern fits, if
    it is this machine's, or that of MILLSTREAM_PUBLIC_URL. That `http.cors` lets all pages read answers is no name: a
    page that a name server points at this server would get past it.
    """
    origin = request.headers.get("origin")
    http: HttpSettings = request.app.state.http
    if origin is None or http.cors.names(origin) or _is_near(origin):
        return None
    own = urlsplit(settings_of(request).public_url)
    if own.netloc and origin == f"{own.scheme}://{own.netloc}":
        return None
    return problem(
        403, f"origin: {origin!r} may not call this server: name it in http.cors.allow_origins."
    )


def _is_near(origin: str) -> bool:
    try:
        url = urlsplit(origin)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and url.hostname in NEAR and url.path == ""


async def post(request: Request) -> Response:
    """`POST /mcp/`: a message of the Model Context Protocol. Each assistant is a tool."""
    if importlib.util.find_spec("mcp") is None:
        return problem(404, MISSING)
    if (refused := _refused(request)) is not None:
        return refused
    host: McpHost = request.app.state.mcp
    settings = settings_of(request)
    return _Passed(await host.server(settings.max_body), settings.keepalive)


async def get(request: Request) -> Response:
    """`GET /mcp/`: 405, for the server sends nothing unasked."""
    return _refused(request) or problem(
        405, "This server sends nothing unasked: use POST.", {"allow": "POST"}
    )


async def delete(request: Request) -> Response:
    """`DELETE /mcp/`: 405, for there are no sessions that could be ended."""
    return _refused(request) or problem(
        405, "There are no sessions: each request stands for itself.", {"allow": "POST"}
    )
