"""Processes of the product that start without the seconds that its imports take.

A server that has imported the product forks each of them. Each has its own session, environment and
`sys.path`, as if `python -m` had started it. It ends with the server, and the server with the tests.
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

from harness.blocking import nothing_blocks, say
from millstream.shared.parent_death import end_with_parent

TESTS = Path(__file__).parents[1]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["millstream.api.main", "millstream.worker.main", __name__])


class ForkedProcess:
    """A module that runs in a forked process. It has the part of `subprocess.Popen` that tests use."""

    def __init__(self, module: str, arguments: list[str], env: dict[str, str]) -> None:
        output, child_output = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_run, args=(module, arguments, env, child_output))
        self._process.start()
        child_output.close()
        self._lock = threading.Lock()  # the exit status can be read only once
        self.stdout: IO[bytes] = os.fdopen(os.dup(output.fileno()), "rb", buffering=0)
        output.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __repr__(self) -> str:
        return f"<Forked {self.pid}, {self.returncode}>"

    @property
    def returncode(self) -> int | None:
        """The exit status, or minus the signal's number; None while the process runs."""
        return self.poll()

    def poll(self) -> int | None:
        """Returns the exit status; None while the process runs."""
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Returns the exit status. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        wait([self._process.sentinel], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return status

    def send_signal(self, number: int) -> None:
        """Sends a signal to the process if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(module: str, arguments: list[str], env: dict[str, str], output: Connection) -> None:
    end_with_parent(signal.SIGKILL)
    os.setsid()
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    sys.stdin = open(os.devnull)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(env)
    outside = [path for path in sys.path if path and not Path(path).is_relative_to(TESTS)]
    sys.path[:] = [os.getcwd(), *outside]
    sys.argv = [module, *arguments]
    with nothing_blocks(say, raises=False):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
