"""The output of a process: each read of it returns all that the process has written so far."""

import os
import threading
from collections.abc import Callable
from multiprocessing.connection import wait


class Output:
    """The lines that a process writes to a pipe.

    A thread empties the pipe, and each call of `lines` does so too. So a line that a process has written before it
    answers a request is returned after the response, however busy the machine is.

    Args:
        pipe: the file descriptor of the pipe's end, which this object closes.
        on_line: called for each line, before `lines` returns it.
        on_end: called once no process writes to the pipe any more.
    """

    def __init__(
        self, pipe: int, on_line: Callable[[str], None], on_end: Callable[[], None]
    ) -> None:
        """Starts the thread."""
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._on_line = on_line
        self._on_end = on_end
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._unfinished = b""
        self._is_at_end = False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def lines(self) -> list[str]:
        """Returns all lines so far."""
        with self._lock:
            self._read()
            return list(self._lines)

    def wait_for_end(self, seconds: float) -> None:
        """Waits until all processes that write to the pipe have ended."""
        self._thread.join(seconds)

    def _follow(self) -> None:
        while not self._is_at_end:
            wait([self._pipe])
            with self._lock:
                self._read()
        os.close(self._pipe)
        self._on_end()

    def _read(self) -> None:
        while not self._is_at_end:
            try:
                data = os.read(self._pipe, 65536)
            except BlockingIOError:
                return
            self._is_at_end = not data
            *whole, self._unfinished = (self._unfinished + data).split(b"\n")
            if self._is_at_end and self._unfinished:
                whole.append(self._unfinished)
            for each in whole:
                line = each.decode(errors="backslashreplace").rstrip()
                self._on_line(line)
                self._lines.append(line)
