"""`/mcp/`: the routes of MCP. The first request starts its server."""

import asyncio
import importlib.util
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millstream.api.http.body import MAX_RPC_VALUES, check_size, read_body
from millstream.api.http.context import limits_of, process_of
from millstream.api.http.page_access import is_local, origin_of
from millstream.api.http.problems import problem
from millstream.api.http.sse import KEEPALIVE
from millstream.api.lazy_import import load

MISSING: Final = 'MCP is not installed here: pip install "millstream[mcp]".'


class _AppResponse(Response):
    """The response of another application, with keepalives if it is an event stream.

    The request's body was read before: the application would log an error if the client left meanwhile.
    """

    def __init__(self, app: ASGIApp, body: bytes, keepalive: float) -> None:
        self.app = app
        self.background = None
        self._body = body
        self._keepalive = keepalive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forwards the request."""
        sender = _KeepaliveSender(send, self._keepalive)
        messages = [{"type": "http.request", "body": self._body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        try:
            await self.app(scope, replay, sender.send)
        finally:
            sender.stop()


class _KeepaliveSender:
    """Sends messages, and a comment whenever an event stream was silent for a keepalive interval."""

    def __init__(self, send: Send, keepalive: float) -> None:
        self._send = send
        self._keepalive = keepalive
        self._keepalive_task: asyncio.Task[None] | None = None
        self._sent_at = 0.0

    async def send(self, message: Message) -> None:
        """Sends a message of the response."""
        self._sent_at = asyncio.get_running_loop().time()
        if message["type"] == "http.response.start" and _is_stream(message):
            self._keepalive_task = asyncio.create_task(self._send_keepalives())
        elif not message.get("more_body", True):
            self.stop()
        await self._send(message)

    async def _send_keepalives(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._sent_at + self._keepalive - loop.time())
            if loop.time() >= self._sent_at + self._keepalive:
                self._sent_at = loop.time()
                await self._send(
                    {"type": "http.response.body", "body": KEEPALIVE, "more_body": True}
                )

    def stop(self) -> None:
        """Stops the keepalives."""
        if self._keepalive_task is not None:
            self._keepalive_task.cancel()


def _is_stream(message: Message) -> bool:
    headers = dict(message["headers"])
    return bool(headers.get(b"content-type", b"").startswith(b"text/event-stream"))


def _check_origin(request: Request) -> Response | None:
    """Returns an error response for a page that may not call this server, else None.

    Browsers send a page's origin with its requests. An origin is allowed if `http.cors` names it or its pattern
    matches it, if it is local, or if it is that of MILLSTREAM_PUBLIC_URL. `*` in `http.cors` does not allow an
    origin: with DNS rebinding, any page could reach this server.
    """
    origin = request.headers.get("origin")
    process = process_of(request)
    if origin is None or process.http.cors.names(origin) or is_local(origin):
        return None
    if origin == origin_of(process.settings.public_url):
        return None
    return problem(
        403, f"origin: {origin!r} may not call this server. Add it to http.cors.allow_origins."
    )


async def post(request: Request) -> Response:
    """`POST /mcp/`: Executes a message of the Model Context Protocol. Each assistant is a tool."""
    if importlib.util.find_spec("mcp") is None:
        return problem(404, MISSING)
    if (error := _check_origin(request)) is not None:
        return error
    process = process_of(request)
    body = await read_body(request)
    await check_size(body, limits_of(request), min(process.settings.max_values, MAX_RPC_VALUES))
    server = await process.mcp.server(partial(_start, process.settings.max_body))
    return _AppResponse(server, body, process.settings.keepalive)


async def _start(max_body: int) -> AbstractAsyncContextManager[ASGIApp]:
    # Imported here, because it takes half a second, and memory, which only users of MCP should pay.
    await load("millstream.api.mcp.server")
    from millstream.api.mcp.server import McpServer

    return McpServer(max_body).serve()


async def get(request: Request) -> Response:
    """`GET /mcp/`: Not supported (405): the server sends no messages of its own."""
    return _check_origin(request) or problem(
        405, "This server sends no messages of its own: use POST.", {"allow": "POST"}
    )


async def delete(request: Request) -> Response:
    """`DELETE /mcp/`: Not supported (405): there are no sessions."""
    return _check_origin(request) or problem(
        405, "There are no sessions: each request is complete by itself.", {"allow": "POST"}
    )
