"""API and worker processes, run as users run them."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness import blocking
from harness.forked_process import ForkedProcess
from harness.output import Output

EXAMPLES = Path(__file__).parents[2] / "examples" / "langgraph.json"
NEXT_VERSION = Path(__file__).with_name("next_version.py")
START_SECONDS = 90.0  # enough on a busy machine
STOP_SECONDS = 30.0
MEASURED = "COVERAGE_PROCESS_CONFIG" in os.environ  # a killed process writes no coverage data


class Process:
    """One process of the product. The test that starts it ends it.

    `fresh` starts a new interpreter, as users do; by default it is forked from an interpreter that has
    imported the product. `newer` runs the next version, whose wire protocol is one number higher.
    """

    def __init__(
        self,
        module: str,
        arguments: list[str],
        env: dict[str, str],
        *,
        fresh: bool = False,
        newer: bool = False,
    ) -> None:
        whole = {**os.environ, "LOG_LEVEL": "WARNING", **env}
        self._env = env
        self.ready: dict[str, Any] = {}
        self._is_ready = threading.Event()
        self.process: ForkedProcess | subprocess.Popen[bytes]
        if fresh or newer:
            self.process = subprocess.Popen(
                [sys.executable, str(NEXT_VERSION) if newer else "-m", module, *arguments],
                env=whole,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        else:
            self.process = ForkedProcess(module, arguments, whole)
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            self._output = Output(os.dup(pipe.fileno()), self._on_line, self._is_ready.set)

    def _on_line(self, line: str) -> None:
        if line.startswith("millstream-ready "):
            self.ready = json.loads(line.removeprefix("millstream-ready "))
            self._is_ready.set()

    @property
    def lines(self) -> list[str]:
        """All lines that it has written so far."""
        return self._output.lines()

    def wait_ready(self) -> Self:
        """Waits until the process is ready. Fails with its output if it does not get ready."""
        if not self._is_ready.wait(START_SECONDS) or not self.ready:
            self.kill()
            raise AssertionError("the process did not get ready:\n" + "\n".join(self.lines))
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        """The address of an API process."""
        return str(self.ready["url"])

    @property
    def metrics_url(self) -> str:
        """The address of a worker's metrics, if it was started with METRICS_PORT."""
        return f"http://127.0.0.1:{self._env['METRICS_PORT']}"

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        return [json.loads(line) for line in self.lines if line.startswith('{"timestamp"')]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The errors in its log."""
        return [each for each in self.records if each["level"] in ("error", "critical")]

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to this process alone."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Ends the process as a crash would."""
        self.process.kill()
        self.wait(STOP_SECONDS)

    def stop(self) -> int:
        """Asks the process to stop. Returns its exit status."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait(self, seconds: float = START_SECONDS) -> int:
        """Waits until the process has ended, which may be at its start. Returns its exit status."""
        status = self.process.wait(seconds)
        self._output.wait_for_end(STOP_SECONDS)
        return status


class Fleet:
    """Processes that share one Redis. All end with the fleet."""

    fresh = False

    def __init__(self, redis_url: str, **env: str) -> None:
        self.redis_url = redis_url
        self.env = {"REDIS_URL": redis_url, **env}
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for process in self.processes:
            if process.process.poll() is None:
                with suppress(subprocess.TimeoutExpired):  # by then it has been killed
                    process.stop() if MEASURED else process.kill()
        blocked = [line for process in self.processes for line in blocking.lines_of(process.lines)]
        assert error or not blocked, "\n".join(blocked)

    def api(self, config: Path | None = None, **env: str) -> Process:
        """Starts an API process on a free port; call `wait_ready()` on it."""
        arguments = [] if config is None else ["--config", str(config)]
        return self._start("millstream.api", ["--port", "0", *arguments], env)

    def newer_api(self, **env: str) -> Process:
        """Starts an API process of the next version; call `wait_ready()` on it."""
        return self._start("millstream.api", ["--port", "0"], env, newer=True)

    def worker(self, config: Path = EXAMPLES, queue: str = "default", **env: str) -> Process:
        """Starts a worker process; call `wait_ready()` on it."""
        arguments = ["--config", str(config), "--queue", queue]
        return self._start("millstream.worker", arguments, env)

    def dev_worker(self, config: Path, **env: str) -> Process:
        """Starts a worker process as `millstream dev` does; call `wait_ready()` on it."""
        arguments = ["--config", str(config), "--queue", "default", "--declared"]
        return self._start("millstream.worker", arguments, env)

    def newer_worker(self, config: Path, **env: str) -> Process:
        """Starts a worker process of the next version; call `wait_ready()` on it."""
        return self._start("millstream.worker", ["--config", str(config)], env, newer=True)

    def _start(
        self, module: str, arguments: list[str], env: dict[str, str], *, newer: bool = False
    ) -> Process:
        process = Process(module, arguments, {**self.env, **env}, fresh=self.fresh, newer=newer)
        self.processes.append(process)
        return process


class FreshFleet(Fleet):
    """A fleet whose processes each start a new interpreter, as users start them."""

    fresh = True
