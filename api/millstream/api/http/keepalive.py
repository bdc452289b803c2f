"""An answer that takes its time: it says something every keepalive interval until it is there.

For answers that are not the events of one run as they are stored (sse.py): those of other protocols.
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
    """The headers of an answer whose body takes time; once they are `known` they are sent.

    `awaited` says that they will be told soon, so that no byte goes before them; else the first beat sends them.
    """

    awaited: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    known: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, **headers: str) -> None:
        """Adds headers, and has them sent. A header that is told after others were sent does nothing."""
        self.headers |= headers
        self.known.set()


class KeptAlive(Response):
    """Status 200 and what `chunks` yields, with a `beat` every keepalive interval, in seconds.

    The headers are sent when they are known, or with the first byte. When the client leaves, `chunks` is closed.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        head: Head,
        *,
        media_type: str,
        beat: bytes,
        keepalive: float,
    ) -> None:
        """`head` gives the headers; `keepalive` is in seconds."""
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.media_type = media_type
        self._chunks = chunks
        self._head = head
        self._beat = beat
        self._keepalive = keepalive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until all is said, or the client has left."""
        leaving = asyncio.create_task(_left(receive))
        known = asyncio.create_task(self._head.known.wait())
        try:
            async with aclosing(self._chunks):
                await self._send(send, leaving, known)
        finally:
            leaving.cancel()
            known.cancel()

    async def _send(
        self, send: Send, leaving: "asyncio.Task[None]", known: "asyncio.Task[Any]"
    ) -> None:
        loop = asyncio.get_running_loop()
        beat_at = loop.time() + self._keepalive
        begun = False
        chunk: asyncio.Task[bytes | None] = asyncio.create_task(self._next())
        try:
            while True:
                awaited = {leaving, chunk} if begun else {leaving, chunk, known}
                is_silent = self._head.awaited and not begun
                left = None if is_silent else max(0.0, beat_at - loop.time())
                await asyncio.wait(awaited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if leaving.done():
                    return
                if not begun:
                    begun = True
                    self.init_headers({**NOT_BUFFERED, **self._head.headers})
                    headers = self.raw_headers
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                body = b""
                if loop.time() >= beat_at:
                    body = self._beat
                    beat_at = loop.time() + self._keepalive
                if chunk.done():
                    said = chunk.result()
                    over = said is None
                    await send(
                        {
                            "type": "http.response.body",
                            "body": body + (said or b""),
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


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
