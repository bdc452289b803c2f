"""`/mcp/`: the routes of MCP. Its server starts with the first request."""

import asyncio
import importlib.util
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millstream.api.http.context import process_of
from millstream.api.http.problems import problem
from millstream.api.http.sse import KEEPALIVE
from millstream.api.lazy_import import load

NEAR: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MISSING: Final = 'MCP is not installed here: pip install "millstream[mcp]".'


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
    process = process_of(request)
    if origin is None or process.http.cors.names(origin) or _is_near(origin):
        return None
    own = urlsplit(process.settings.public_url)
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
    """`POST /mcp/`: Executes a message of the Model Context Protocol. Each assistant is a tool."""
    if importlib.util.find_spec("mcp") is None:
        return problem(404, MISSING)
    if (refused := _refused(request)) is not None:
        return refused
    process = process_of(request)
    server = await process.mcp.server(partial(_start, process.settings.max_body))
    return _Passed(server, process.settings.keepalive)


async def _start(max_body: int) -> AbstractAsyncContextManager[ASGIApp]:
    # Imported here: it takes half a second, and memory, which only those pay that use it.
    await load("millstream.api.mcp.server")
    from millstream.api.mcp.server import McpServer

    return McpServer(max_body).running()


async def get(request: Request) -> Response:
    """`GET /mcp/`: Not supported (405): the server sends no messages of its own."""
    return _refused(request) or problem(
        405, "This server sends nothing unasked: use POST.", {"allow": "POST"}
    )


async def delete(request: Request) -> Response:
    """`DELETE /mcp/`: Not supported (405): there are no sessions."""
    return _refused(request) or problem(
        405, "There are no sessions: each request stands for itself.", {"allow": "POST"}
    )
