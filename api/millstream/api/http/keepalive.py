"""A response that sends a keepalive at each interval while its body is computed.

Other protocols use it. sse.py has the responses that send the stored events of one run.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

NOT_BUFFERED: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


@dataclass(slots=True)
class Head:
    """The headers of a response whose body takes time. They are sent once they are `known`.

    With `awaited`, nothing is sent before them: a method will add headers soon. Else the first keepalive sends them.
    """

    awaited: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    known: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, **headers: str) -> None:
        """Adds headers, and lets them be sent. Headers that are added after that have no effect."""
        self.headers |= headers
        self.known.set()


class KeepaliveResponse(Response):
    """Sends status 200 and the chunks, with a keepalive text at each interval.

    The headers are sent when they are known, or with the first byte. When the client leaves, `chunks` is closed.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        head: Head,
        *,
        media_type: str,
        keepalive_text: bytes,
        keepalive: float,
    ) -> None:
        """`head` holds the headers; `keepalive` is the interval in seconds."""
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.media_type = media_type
        self._chunks = chunks
        self._head = head
        self._keepalive_text = keepalive_text
        self._keepalive = keepalive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the last chunk, or until the client has left."""
        disconnected = asyncio.create_task(_wait_for_disconnect(receive))
        known = asyncio.create_task(self._head.known.wait())
        try:
            async with aclosing(self._chunks):
                await self._send(send, disconnected, known)
        finally:
            disconnected.cancel()
            known.cancel()

    async def _send(
        self, send: Send, disconnected: "asyncio.Task[None]", known: "asyncio.Task[Any]"
    ) -> None:
        loop = asyncio.get_running_loop()
        keepalive_at = loop.time() + self._keepalive
        started = False
        chunk: asyncio.Task[bytes | None] = asyncio.create_task(self._next())
        try:
            while True:
                waiting = {disconnected, chunk} if started else {disconnected, chunk, known}
                is_silent = self._head.awaited and not started
                timeout = None if is_silent else max(0.0, keepalive_at - loop.time())
                await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if disconnected.done():
                    return
                if not started:
                    started = True
                    self.init_headers({**NOT_BUFFERED, **self._head.headers})
                    headers = self.raw_headers
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                body = b""
                if loop.time() >= keepalive_at:
                    body = self._keepalive_text
                    keepalive_at = loop.time() + self._keepalive
                if chunk.done():
                    content = chunk.result()
                    over = content is None
                    await send(
                        {
                            "type": "http.response.body",
                            "body": body + (content or b""),
                            "more_body": not over,
                        }
                    )
                    if over:
                        return
                    chunk = asyncio.create_task(self._next())
                elif body:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            chunk.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({chunk})

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
