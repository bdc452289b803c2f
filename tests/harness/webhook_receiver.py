"""A receiver of webhooks: a real HTTP server that records requests and answers as a test decides."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Reply = tuple[int, dict[str, str]]  # status, headers


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request that the receiver got."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    at: float  # monotonic s

    @property
    def json(self) -> dict[str, Any]:
        """The body."""
        body: dict[str, Any] = json.loads(self.body)
        return body


class _Server(ThreadingHTTPServer):
    """A server that knows its open connections."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints errors, except of cut connections."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def break_off(self) -> None:
        """Cuts the open connections."""
        for request in list(self._open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


class Receiver:
    """A receiver that can be stopped and started; its port stays the same."""

    def __init__(self, answer: Callable[[ReceivedRequest], Reply] | None = None) -> None:
        self.requests: list[ReceivedRequest] = []
        self.answer = answer or (lambda request: (200, {}))
        self.body = b""  # of all answers
        self._port = 0
        self._server: _Server | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts to listen."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["content-length"])
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(size)
                if len(body) < size:  # the sender died
                    self.close_connection = True
                    return
                request = ReceivedRequest(self.path, headers, body, time.monotonic())
                receiver.requests.append(request)
                status, more = receiver.answer(request)
                self.send_response(status)
                for name, value in {"content-length": str(len(receiver.body)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(receiver.body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stops to listen and cuts the open connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.break_off()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
