"""Logs each request once, when its response has ended, and gives it an id."""

import logging
import os
import time
from collections.abc import Iterable
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millstream.api.http.context import REQUEST_ID, SPAN
from millstream.api.http.problems import CLIENT_LEFT
from millstream.shared import logs
from millstream.shared.langgraph_json.http import HeaderFilter
from millstream.shared.tracing.context import request_id_of

log = logging.getLogger("millstream.access")

HEADER: Final = "x-request-id"
HEADER_BYTES: Final = HEADER.encode()
ACCEPTED: Final = 101  # of a WebSocket, until it is closed
FRAME_ENDS: Final = (
    b"\r\n\r\n",
    b"\n\n",
)  # of events in a stream: ours, and those of a project's routes


class LoggedError(Exception):
    """Stands for an exception of the application that is in the log already, so that uvicorn's record is dropped."""


class AccessLog:
    """Surrounds the application. The line of a stream is written when the stream ends.

    It has no query: that may hold secrets. An exception of the application is logged here, with the request's id.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        excluded: Iterable[str] = (),
        prefix: str = "",
        headers: HeaderFilter | None = None,
    ) -> None:
        """Logs nothing yet.

        Args:
            app: the application.
            excluded: paths that are not logged; `*` at the end of one is anything.
            prefix: the path before the application's own paths, '' for none. Excluded paths are without it.
            headers: selects the headers that are logged too.
        """
        self._app = app
        self._prefix = prefix
        self._headers = headers
        paths = list(excluded)
        self._paths = frozenset(path for path in paths if not path.endswith("*"))
        self._beginnings = tuple(path[:-1] for path in paths if path.endswith("*"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forwards the request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = scope[REQUEST_ID] = _request_id(scope)
        logs.begin(request_id=request_id)
        # Here, because routes change the scope.
        is_logged = not self._is_excluded(scope["path"].removeprefix(scope.get("root_path", "")))
        exchange = _Exchange(scope, receive, send, request_id)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass
        except Exception:
            exchange.status = exchange.status or 500
            log.exception("%s %s failed", exchange.method, exchange.path)
            # Starlette has sent the response 500, or uvicorn closes the connection of an incomplete one.
            raise LoggedError from None
        finally:
            if is_logged and log.isEnabledFor(logging.INFO):
                exchange.log(self._headers)

    def _is_excluded(self, path: str) -> bool:
        path = path.removeprefix(self._prefix)
        return path in self._paths or path.startswith(self._beginnings)


class _Exchange:
    """One request and its response, or one WebSocket."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.method: Final[str] = scope.get("method", "WEBSOCKET")
        self.path: Final[str] = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
        self.status: int | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._started = time.perf_counter()
        self._is_stream = False  # of events
        self._frames = 0
        self._is_complete = False
        self._has_left = False

    async def receive(self) -> Message:
        """Forwards a message of the client to the application."""
        message = await self._receive()
        kind = message["type"]
        if kind == "http.disconnect" and not self._is_complete:
            self._has_left = True
            self.status = self.status or CLIENT_LEFT  # an application may try to send another one
        elif kind == "websocket.disconnect" and not self._is_complete:
            self.status, self._is_complete = message.get("code"), True
        return message

    async def send(self, message: Message) -> None:
        """Forwards a message of the application to the client, with the request's id in the headers."""
        kind = message["type"]
        if kind == "http.response.body":
            if self._is_stream:
                body = message.get("body", b"")
                self._frames += sum(map(body.count, FRAME_ENDS))
            self._is_complete = not message.get("more_body", False)
        elif kind in ("http.response.start", "websocket.accept"):
            sent = [*message.get("headers", ())]
            headers = Headers(raw=sent)
            self._is_stream = headers.get("content-type", "").startswith("text/event-stream")
            self.status = self.status or message.get("status", ACCEPTED)
            if HEADER not in headers:
                sent.append((HEADER_BYTES, self._request_id.encode()))
                message = {**message, "headers": sent}
        elif kind == "websocket.send":
            self._is_stream = True
            self._frames += 1
        elif kind == "websocket.close":
            # uvicorn sends 403 if the handshake was not accepted.
            self.status = message.get("code", 1000) if self.status else 403
            self._is_complete = True
        await self._send(message)

    def log(self, headers: HeaderFilter | None) -> None:
        """Writes the line of the request."""
        status = self.status or CLIENT_LEFT
        took = round((time.perf_counter() - self._started) * 1000, 1)
        fields: dict[str, Any] = {
            "method": self.method,
            "path": self.path,
            "route": getattr(self._scope.get("route"), "path", None),
            "status": status,
            "duration_ms": took,
            "client": (self._scope.get("client") or ("",))[0],
        }
        if self._is_stream:
            fields["frames"] = self._frames
        if self._has_left or not self._is_complete:
            fields["complete"] = False  # the client has left, or the response was broken off
        if span := self._scope.get(SPAN):
            fields |= {"trace_id": span.trace_id, "span_id": span.span_id}
        if headers is not None:
            fields["headers"] = headers.chosen(Headers(scope=self._scope).items())
        event = f"{self.method} {self.path} {status} in {took} ms"
        # `log.info` would look for its caller, which takes as long as the rest.
        log.handle(log.makeRecord(log.name, logging.INFO, "", 0, event, (), None, extra=fields))


def _request_id(scope: Scope) -> str:
    """Returns the id that the client or a proxy has sent, or a new one."""
    for name, value in scope["headers"]:
        if name == HEADER_BYTES:
            if request_id := request_id_of(value.decode("latin-1")):
                return request_id
            break
    return os.urandom(16).hex()
