"""Runs the API and the workers as child processes, and reports their output, readiness and end."""

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
_OUTPUT_SECONDS: Final = 0.5  # to read the rest of an ended child's output


@dataclass(frozen=True, slots=True)
class Ready:
    """A child is ready; `facts` is its own report."""

    child: "Child"
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exited:
    """A child has ended, and all its output is written."""

    child: "Child"
    status: int
    """The exit status as in a shell: 128 + the signal if a signal ended the child."""


class Child:
    """A process that can be started repeatedly; its threads report events.

    Args:
        name: precedes each of its lines.
        argv: the command; `argv[0]` is a path.
        environ: its whole environment.
        console: receives its lines.
        report: is called with Ready and Exited, from threads.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        console: Console,
        report: Callable[[Ready | Exited], None],
    ) -> None:
        """Starts nothing yet."""
        self.name = name
        self._argv = argv
        self._environ = environ
        self._console = console
        self._report = report
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = threading.Event()
        self._killer: threading.Timer | None = None

    def __repr__(self) -> str:
        down = self._process is None or self._gone.is_set()
        return f"<Child {self.name} {'down' if down else 'alive'}>"

    def start(self) -> None:
        """Starts the process in a session of its own, so that it gets no Ctrl-C. Its last Exited was reported."""
        process = subprocess.Popen(
            # SIGKILL, because a child must not outlive a parent that was killed, not even to shut down.
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
        """Sends SIGTERM, and SIGKILL after `grace` seconds; returns at once."""
        process = self._process
        if process is None or self._gone.is_set():
            return
        process.terminate()
        if self._killer is not None:
            self._killer.cancel()  # the latest call decides
        self._killer = threading.Timer(grace, _kill_if_alive, (process,))
        self._killer.daemon = True
        self._killer.start()

    def join(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds; returns whether the process has ended."""
        return self._process is None or self._gone.wait(timeout)

    def _await_end(
        self, process: subprocess.Popen[bytes], readers: Sequence[threading.Thread]
    ) -> None:
        status = process.wait()
        if self._killer is not None:
            self._killer.cancel()
            self._killer = None
        # Processes that a graph started would keep the pipes open, and outlive the worker.
        _kill_group(process.pid)
        for reader in readers:
            reader.join(_OUTPUT_SECONDS)
        self._gone.set()
        self._report(Exited(self, 128 - status if status < 0 else status))

    def _read(self, pipe: IO[bytes], err: bool) -> None:
        with pipe:
            for line in pipe:
                if not err and line.startswith(READY):
                    with contextlib.suppress(ValueError):
                        self._report(Ready(self, json.loads(line[len(READY) :])))
                        continue
                text = line.decode(errors="replace").rstrip("\r\n")
                # A closed terminal must not stop this loop: the child would block at a full pipe.
                with contextlib.suppress(OSError, ValueError):
                    self._console.line(self.name, text, err=err)


def _kill_if_alive(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _kill_group(process.pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
