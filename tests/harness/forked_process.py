"""Processes of the product without the seconds that its imports take.

A server that has imported the product forks each of them: a process of its own, with a session, an
environment and a `sys.path` as if it had been started by `python -m`.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO

TESTS = Path(__file__).parents[1]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["millstream.api.main", "millstream.worker.main", __name__])


class ForkedProcess:
    """A module that runs in a forked process; what `subprocess.Popen` has, as far as it is used here."""

    def __init__(self, module: str, arguments: list[str], env: dict[str, str]) -> None:
        said, says = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_run, args=(module, arguments, env, says))
        self._process.start()
        says.close()
        self._lock = threading.Lock()  # the exit status can be read once only
        self.stdout: IO[str] = os.fdopen(os.dup(said.fileno()))
        said.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __repr__(self) -> str:
        return f"<Forked {self.pid}, {self.returncode}>"

    @property
    def returncode(self) -> int | None:
        """The exit status, or the signal's number below zero; None while it runs."""
        return self.poll()

    def poll(self) -> int | None:
        """Returns the exit status if it has ended."""
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Returns the exit status; raises subprocess.TimeoutExpired after so many seconds."""
        wait([self._process.sentinel], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return status

    def send_signal(self, number: int) -> None:
        """Sends a signal if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(module: str, arguments: list[str], env: dict[str, str], says: Connection) -> None:
    os.setsid()
    for number in (1, 2):
        os.dup2(says.fileno(), number)
    says.close()
    sys.stdin = open(os.devnull)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(env)
    outside = [path for path in sys.path if path and not Path(path).is_relative_to(TESTS)]
    sys.path[:] = [os.getcwd(), *outside]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
