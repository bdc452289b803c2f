"""The child processes in which a worker executes isolated runs: starts, reuses and ends them."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from millstream.shared.parent_death import dies_with_parent
from millstream.worker.isolation import messages
from millstream.worker.isolation.messages import Execute, Message, Ready

log = logging.getLogger(__name__)

IDLE_SECONDS: Final = 60.0  # after which an idle process is ended
START_SECONDS: Final = 300.0  # in which a process must load the project
EXIT_SECONDS: Final = 2.0  # in which a process must end after its socket has closed


class StartError(Exception):
    """A process could not be started, or ended before it could execute a run; the text says why."""


def command(config: Path, worker_id: str) -> list[str]:
    """Returns the command of a worker's child process for the project of this langgraph.json."""
    # -P, so that no file of the project is imported in place of a library. The path is absolute, as a node may
    # change the working directory.
    module, path = "millstream.worker.isolation.child", os.path.abspath(config)
    return [sys.executable, "-P", "-m", module, "--worker", worker_id, "--config", path]


class ChildProcess:
    """A process that executes one run at a time."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """`reader` and `writer` belong to the worker's end of the socket pair."""
        self._process = process
        self._reader = reader
        self._writer = writer
        self.idle_timer: asyncio.TimerHandle | None = None  # ends the process while it is idle
        self.is_used = False  # whether it has executed a run

    def __repr__(self) -> str:
        return f"<ChildProcess {self._process.pid}, {self._process.returncode}>"

    @classmethod
    async def start(cls, argv: Sequence[str]) -> "ChildProcess":
        """Starts a process and waits until it has loaded the project; raises StartError."""
        try:
            with ExitStack() as on_error:
                worker_end, child_end = socket.socketpair()
                on_error.callback(worker_end.close)
                with child_end:
                    number = child_end.fileno()
                    process = await asyncio.create_subprocess_exec(
                        # SIGKILL, as nothing renews the run's lease once the worker has died.
                        *dies_with_parent([*argv, "--socket", str(number)], signal.SIGKILL),
                        stdin=asyncio.subprocess.DEVNULL,
                        pass_fds=[number],
                    )
                child = cls(process, *await asyncio.open_connection(sock=worker_end))
                on_error.pop_all()
        except OSError as error:  # no memory, no file descriptors, too many processes
            raise StartError(f"the system can't start a process: {error}") from None
        try:
            async with asyncio.timeout(START_SECONDS):
                if not isinstance(await child.receive(), Ready):
                    raise StartError(
                        f"the process {await child.describe_end()} while it loaded the project"
                    )
        except TimeoutError:
            await child.end()
            raise StartError(
                f"the process has not loaded the project within {START_SECONDS:g} s"
            ) from None
        except BaseException:
            await child.end()
            raise
        return child

    @property
    def is_alive(self) -> bool:
        """Whether it can execute a run."""
        return self._process.returncode is None and not self._reader.at_eof()

    def send(self, message: Message) -> None:
        """Sends the message; it is lost if the process has died."""
        self.is_used = self.is_used or isinstance(message, Execute)
        if not self._writer.is_closing():
            messages.write(self._writer, message)

    async def receive(self) -> Message | None:
        """Returns the next message, None once the process has ended or closed its socket."""
        return await messages.read(self._reader)

    async def describe_end(self) -> str:
        """Returns how the process ended, as a predicate. Ends the process if it is still alive."""
        try:
            status = await asyncio.wait_for(self._process.wait(), EXIT_SECONDS)
        except TimeoutError:
            await self.end()
            return "closed its socket and was ended"
        return _describe_status(status)

    async def end(self) -> None:
        """Ends the process at once."""
        if self.idle_timer is not None:
            self.idle_timer.cancel()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._writer.close()


class Processes:
    """The child processes of one worker."""

    def __init__(self, argv: Sequence[str], *, max_processes: int) -> None:
        """`argv` is the command of one process; at most `max_processes` of them execute runs at a time."""
        self._argv = argv
        self._slots = asyncio.Semaphore(max_processes)
        self._idle: list[ChildProcess] = []
        self._ends: set[asyncio.Task[None]] = set()

    async def take(self, *, unused: bool = False) -> ChildProcess:
        """Returns an idle process, once a slot is free; raises StartError.

        Args:
            unused: whether the process must have executed no run before.
        """
        await self._slots.acquire()
        try:
            while self._idle:
                child = self._idle.pop()
                if child.is_alive and not (unused and child.is_used):
                    if child.idle_timer is not None:
                        child.idle_timer.cancel()
                    return child
                self._end(child)
            return await ChildProcess.start(self._argv)
        except BaseException:
            self._slots.release()
            raise

    def give_back(self, child: ChildProcess, *, is_idle: bool) -> None:
        """Frees the process's slot. Keeps an idle process for another run, and ends any other."""
        self._slots.release()
        if not (is_idle and child.is_alive):
            self._end(child)
            return
        self._idle.append(child)
        child.idle_timer = asyncio.get_running_loop().call_later(
            IDLE_SECONDS, self._end_idle, child
        )

    async def warm_up(self) -> None:
        """Starts one process before the first run needs it. Logs a failure."""
        try:
            self.give_back(await self.take(), is_idle=True)
        except StartError as error:
            log.error("no process for isolated runs can be started: %s", error)

    async def aclose(self) -> None:
        """Ends all idle processes, and waits for the ends that are in progress."""
        for child in self._idle:
            self._end(child)
        self._idle.clear()
        await asyncio.gather(*self._ends)

    def _end_idle(self, child: ChildProcess) -> None:
        if child in self._idle:
            self._idle.remove(child)
            self._end(child)

    def _end(self, child: ChildProcess) -> None:
        task = asyncio.get_running_loop().create_task(child.end())
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)


HINTS: Final = {
    signal.SIGKILL: ", as the kernel does when memory runs out",
    signal.SIGSEGV: ", a crash of native code",
    signal.SIGABRT: ", an abort of native code",
}


def _describe_status(status: int) -> str:
    """Returns how a process ended, as a predicate; `status` is asyncio's return code."""
    if status >= 0:
        return f"ended itself with exit status {status}"
    names = {number.value: number for number in signal.Signals}
    number = names.get(-status)
    if number is None:
        return f"was ended by signal {-status}"
    return f"was ended by signal {-status} ({number.name}{HINTS.get(number, '')})"
