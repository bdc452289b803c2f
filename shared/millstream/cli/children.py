"""The API and the workers as child processes: their output, their readiness, their end."""

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from millstream.cli.console import Console
from millstream.shared.parent_death import dies_with_parent

READY: Final = b"millstream-ready "
_LAST_WORDS_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Ready:
    """A child serves; `facts` is what it said of itself."""

    child: "Child"
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exited:
    """A child has ended, and all that it wrote has been shown."""

    child: "Child"
    status: int
    """As a shell counts it: 128 + the signal, if a signal ended the child."""


class Child:
    """A process that can be started again and again; events come from its threads.

    Args:
        name: stands before each of its lines.
        argv: the command; `argv[0]` is a path.
        environ: its whole environment.
        console: where its lines go.
        tell: receives Ready and Exited; called from threads.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        console: Console,
        tell: Callable[[Ready | Exited], None],
    ) -> None:
        """Starts nothing yet."""
        self.name = name
        self._argv = argv
        self._environ = environ
        self._console = console
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = threading.Event()
        self._killer: threading.Timer | None = None

    def __repr__(self) -> str:
        down = self._process is None or self._gone.is_set()
        return f"<Child {self.name} {'down' if down else 'alive'}>"

    def start(self) -> None:
        """Starts the process, out of reach of the terminal's Ctrl-C; its last Exited was told."""
        process = subprocess.Popen(
            # SIGKILL: whoever kills the starter wants nothing left, least of all a slow goodbye.
            dies_with_parent(self._argv, signal.SIGKILL),
            env=dict(self._environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        self._gone = threading.Event()
        readers = [
            threading.Thread(target=self._read, args=(process.stdout, False), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, True), daemon=True),
        ]
        for reader in readers:
            reader.start()
        threading.Thread(target=self._await_end, args=(process, readers), daemon=True).start()

    def terminate(self, grace: float) -> None:
        """Asks the process to end, kills it after `grace` seconds; returns at once."""
        process = self._process
        if process is None or self._gone.is_set():
            return
        process.terminate()
        if self._killer is not None:
            self._killer.cancel()  # the latest grace counts
        self._killer = threading.Timer(grace, _kill_if_alive, (process,))
        self._killer.daemon = True
        self._killer.start()

    def join(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds; tells whether the process is gone."""
        return self._process is None or self._gone.wait(timeout)

    def _await_end(
        self, process: subprocess.Popen[bytes], readers: Sequence[threading.Thread]
    ) -> None:
        status = process.wait()
        if self._killer is not None:
            self._killer.cancel()
            self._killer = None
        # What a graph has started would keep the pipes open, and outlive its worker.
        _kill_group(process.pid)
        for reader in readers:
            reader.join(_LAST_WORDS_SECONDS)
        self._gone.set()
        self._tell(Exited(self, 128 - status if status < 0 else status))

    def _read(self, pipe: IO[bytes], err: bool) -> None:
        with pipe:
            for line in pipe:
                if not err and line.startswith(READY):
                    with contextlib.suppress(ValueError):
                        self._tell(Ready(self, json.loads(line[len(READY) :])))
                        continue
                text = line.decode(errors="replace").rstrip("\r\n")
                # A reader of ours that left must not block the child at a full pipe.
                with contextlib.suppress(OSError, ValueError):
                    self._console.line(self.name, text, err=err)


def _kill_if_alive(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _kill_group(process.pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
