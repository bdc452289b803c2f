"""Limits of HTTP connections, which uvicorn has not: the size of headers, and the time of a request.

See docs/limits.md. A proxy in front should have the same limits.
"""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from millstream.shared.settings import Settings

MAX_HEADER_BYTES: Final = 64 * 1024  # of names and values, and of the URL
# File descriptors that are not for clients: connections to Redis, files, listening sockets.
RESERVED_DESCRIPTORS: Final = 256
MAX_DESCRIPTORS: Final = 65_536  # the soft limit is raised up to this number


class _ErrorApp:
    """An application that refuses each request and closes its connection."""

    def __init__(self, status: int, text: str) -> None:
        self._response = Response(
            text, status, {"connection": "close"}, media_type="text/plain; charset=utf-8"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._response(scope, receive, send)


TOO_LARGE: Final = _ErrorApp(
    431, f"The URL and the headers have more than {MAX_HEADER_BYTES} bytes."
)
TWO_HOSTS: Final = _ErrorApp(400, "The request has more than one Host header.")
TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class LimitedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    request_seconds: ClassVar[float]  # from the first byte of a request to its last

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Takes the arguments of uvicorn's class."""
        super().__init__(*arguments, **keywords)
        self._is_reading = False  # a part of a request has arrived
        self._head_bytes = 0  # that have arrived of headers which are not complete
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Closes the connection if no request begins in time."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the timer of the request."""
        self._cancel_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads a part of a request, and limits the headers and the time until the last part."""
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEADER_BYTES + len(data):
            self._refuse(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n"
            )
            return
        super().data_received(data)
        # A timer is set only for a request that does not arrive at once.
        if not self._is_reading:
            self._cancel_deadline()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.request_seconds, self._time_out)

    def on_message_begin(self) -> None:
        """Notes that a request has begun."""
        self._is_reading = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Passes the request to the application, or refuses it."""
        self._head_bytes = 0
        with self._instead(self._error_app()):
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Passes a part of the body to the application."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Notes that the request has arrived."""
        self._is_reading = False
        self._head_bytes = 0
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        # Of another method than GET, the body would never be read.
        return self.parser.get_method() == b"GET" and super()._should_upgrade()

    def _error_app(self) -> ASGIApp | None:
        size, hosts = len(self.url), 0
        for name, value in self.headers:
            size += len(name) + len(value)
            hosts += name == b"host"
        if size > MAX_HEADER_BYTES:
            self.url = b"/"  # uvicorn can't parse a URL of such a size
            return TOO_LARGE
        return TWO_HOSTS if hosts > 1 else None

    @contextmanager
    def _instead(self, app: ASGIApp | None) -> Iterator[None]:
        """Lets `app`, if there is one, respond to the request whose headers are complete."""
        served = self.app
        self.app = app or served
        try:
            yield
        finally:
            self.app = served

    def _time_out(self) -> None:
        self._deadline = None
        self._refuse(TOO_SLOW)

    def _refuse(self, response: bytes) -> None:
        """Closes the connection, with a response unless one has begun."""
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(response)
        self.transport.close()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def limited_protocol(request_seconds: float) -> type[HttpToolsProtocol]:
    """Returns the protocol class for `uvicorn.Config(http=…)`.

    Args:
        request_seconds: from the first byte of a request to its last; then it gets 408 and its connection is closed.
            A connection on which no request begins is closed after uvicorn's `timeout_keep_alive`.
    """
    return type("LimitedProtocol", (LimitedProtocol,), {"request_seconds": request_seconds})


def max_connections(settings: Settings) -> int:
    """Returns how many connections this process accepts; further ones get 503.

    Raises the soft limit of file descriptors, so that clients can't use up all of them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        soft = ceiling
    descriptors = MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    # Each stream may need a connection to Redis for a moment.
    available = max(16, (descriptors - RESERVED_DESCRIPTORS) // 2)
    return min(settings.max_connections or available, available)
