"""A simulated sentinel, whose reply a test sets."""

import socketserver
import threading
from types import TracebackType
from typing import Self

from millstream.cli.embedded import HOST, EmbeddedRedis

MASTER = "main"


class FakeSentinel:
    """Replies with the address of `master`, counts requests, and does not reply if `silent` is set."""

    def __init__(self) -> None:
        self.master: EmbeddedRedis | None = None
        self.password = ""  # of its user sam; empty: no login is required
        self.silent = False
        self.requests = 0
        sentinel = self

        class Exchange(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                allowed = not sentinel.password
                while command := self._read_command():
                    if command[0] == "AUTH":
                        allowed = command[1:] == ["sam", sentinel.password]
                        reply = "+OK\r\n" if allowed else "-WRONGPASS wrong\r\n"
                    elif not allowed:
                        reply = "-NOAUTH Authentication required.\r\n"
                    elif command[:2] == ["SENTINEL", "GET-MASTER-ADDR-BY-NAME"]:
                        reply = sentinel.answer(command[2])
                    else:
                        reply = "+OK\r\n"
                    self.wfile.write(reply.encode())

            def _read_command(self) -> list[str]:
                try:
                    count = int(self.rfile.readline()[1:] or 0)
                    return [self.rfile.read(self._size() + 2)[:-2].decode() for _ in range(count)]
                except ConnectionError:
                    return []

            def _size(self) -> int:
                return int(self.rfile.readline()[1:])

        self._server = socketserver.ThreadingTCPServer((HOST, 0), Exchange)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        # In its own thread, for clients that block the thread of the test.
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def answer(self, name: str) -> str:
        """Returns the reply to a request for a master."""
        self.requests += 1
        if self.silent:
            return ""
        if self.master is None or name != MASTER:
            return "*-1\r\n"
        port = str(self.master.port)
        return f"*2\r\n${len(HOST)}\r\n{HOST}\r\n${len(port)}\r\n{port}\r\n"
