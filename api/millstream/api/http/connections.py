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
MAX_HEADERS: Final = 250  # a header takes ten times its bytes of memory
MAX_QUERY_FIELDS: Final = 1000  # each is decoded on the event loop
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


TOO_MANY_FIELDS: Final = _ErrorApp(
    431, f"The URL has more than {MAX_QUERY_FIELDS} query parameters."
)
TOO_LARGE: Final = _ErrorApp(
    431, f"The URL and the headers have more than {MAX_HEADER_BYTES} bytes."
)
TOO_MANY_HEADERS: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n"
)
TWO_HOSTS: Final = _ErrorApp(400, "The request has more than one Host header.")
NO_ROOM: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)
TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class LimitedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    request_seconds: ClassVar[float]  # from the first byte of a request to its last
    # Connections without a complete request, the one that waits longest first. Those of other clients may replace them.
    waiting: ClassVar["dict[LimitedProtocol, None]"]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Takes the arguments of uvicorn's class."""
        super().__init__(*arguments, **keywords)
        self._is_reading = False  # a part of a request has arrived
        self._head_bytes = 0  # that have arrived of headers which are not complete
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Closes the connection if no request begins in time."""
        super().connection_made(transport)
        self._wait()
        self._make_room()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the timer of the request."""
        self._cancel_deadline()
        self.waiting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads a part of a request, and limits the headers and the time until the last part."""
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEADER_BYTES + len(data):
            self._refuse(TOO_MANY_HEADERS)
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
        if self._is_idle():
            self._wait()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Adds a header. Beyond their limit, the rest of the head is not parsed."""
        if len(self.headers) >= MAX_HEADERS:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        """Refuses a request that can't be parsed. uvicorn calls this."""
        if len(self.headers) >= MAX_HEADERS and not self.transport.is_closing():
            self._refuse(TOO_MANY_HEADERS)
        else:
            super().send_400_response(msg)

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
        self.waiting.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        super().on_response_complete()
        if self._is_idle() and not self.transport.is_closing():
            self._wait()

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over."""
        self.waiting.pop(self, None)
        super().handle_websocket_upgrade()

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
        if self.url.count(b"&") >= MAX_QUERY_FIELDS:
            return TOO_MANY_FIELDS
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

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        """Makes this connection the newest of those that wait."""
        self.waiting.pop(self, None)
        self.waiting[self] = None

    def _make_room(self) -> None:
        """Closes the connection that waits longest if there is no place for this one.

        So clients that hold connections without complete requests keep no other client out.
        """
        if self.limit_concurrency is None or len(self.connections) < self.limit_concurrency:
            return
        oldest = next(iter(self.waiting))
        if oldest is not self:
            self.waiting.pop(oldest)
            self.connections.discard(oldest)
            if oldest._is_reading:
                oldest._refuse(NO_ROOM)
            else:
                oldest.transport.close()

    def _refuse(self, response: bytes) -> None:
        """Closes the connection, with a response unless one has begun."""
        if self.transport.is_closing():
            return
        if self._is_idle() or not self.cycle.response_started:
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
    attributes = {"request_seconds": request_seconds, "waiting": {}}
    return type("LimitedProtocol", (LimitedProtocol,), attributes)


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
