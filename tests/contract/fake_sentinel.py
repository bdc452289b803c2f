"""A sentinel that gives the answer that a test has given it."""

import socketserver
import threading
from types import TracebackType
from typing import Self

from millstream.cli.embedded import HOST, EmbeddedRedis

MASTER = "main"


class FakeSentinel:
    """Names `master`, counts who asks, and is silent on demand."""

    def __init__(self) -> None:
        self.master: EmbeddedRedis | None = None
        self.password = ""  # of its user sam; empty: nobody has to log in
        self.silent = False
        self.asked = 0
        oracle = self

        class Exchange(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                allowed = not oracle.password
                while words := self._words():
                    if words[0] == "AUTH":
                        allowed = words[1:] == ["sam", oracle.password]
                        reply = "+OK\r\n" if allowed else "-WRONGPASS wrong\r\n"
                    elif not allowed:
                        reply = "-NOAUTH Authentication required.\r\n"
                    elif words[:2] == ["SENTINEL", "GET-MASTER-ADDR-BY-NAME"]:
                        reply = oracle.answer(words[2])
                    else:
                        reply = "+OK\r\n"
                    self.wfile.write(reply.encode())

            def _words(self) -> list[str]:
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
        # A thread of its own, for clients that block theirs.
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
    def place(self) -> str:
        return f"{HOST}:{self.port}"

    def answer(self, name: str) -> str:
        """Returns the reply to a question for a master."""
        self.asked += 1
        if self.silent:
            return ""
        if self.master is None or name != MASTER:
            return "*-1\r\n"
        port = str(self.master.port)
        return f"*2\r\n${len(HOST)}\r\n{HOST}\r\n${len(port)}\r\n{port}\r\n"
