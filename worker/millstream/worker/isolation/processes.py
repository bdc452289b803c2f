"""The processes that a worker executes isolated runs in: started when needed, used again, ended."""

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

IDLE: Final = 60.0  # s after which a process that executes nothing is ended
START: Final = 300.0  # s in which a process must have loaded the project
LAST_WORDS: Final = 2.0  # s in which a process whose socket has closed must have ended


class StartError(Exception):
    """A process ended before it could execute anything."""


def command(config: Path) -> list[str]:
    """Returns the command of such a process, for the project of this langgraph.json."""
    # -P: a file of the project must not be imported in place of a library. Absolute: a node may change
    # the working directory.
    module, path = "millstream.worker.isolation.child", os.path.abspath(config)
    return [sys.executable, "-P", "-m", module, "--config", path]


class ChildProcess:
    """One process; it executes one run at a time."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """`reader` and `writer` are the ends of its pipe."""
        self._process = process
        self._reader = reader
        self._writer = writer
        self.ending: asyncio.TimerHandle | None = None  # while it is idle
        self.is_used = False  # it has executed a run

    def __repr__(self) -> str:
        return f"<ChildProcess {self._process.pid}, {self._process.returncode}>"

    @classmethod
    async def start(cls, argv: Sequence[str]) -> "ChildProcess":
        """Starts a process and waits until it has loaded the project; raises StartError."""
        try:
            with ExitStack() as failed:
                ours, theirs = socket.socketpair()
                failed.callback(ours.close)
                with theirs:
                    number = theirs.fileno()
                    process = await asyncio.create_subprocess_exec(
                        # SIGKILL: without its worker nobody renews the lease of what it executes.
                        *dies_with_parent([*argv, "--socket", str(number)], signal.SIGKILL),
                        stdin=asyncio.subprocess.DEVNULL,
                        pass_fds=[number],
                    )
                child = cls(process, *await asyncio.open_connection(sock=ours))
                failed.pop_all()
        except OSError as error:  # no memory, no file descriptors, too many processes
            raise StartError(f"the system starts no process: {error}") from None
        try:
            async with asyncio.timeout(START):
                if not isinstance(await child.receive(), Ready):
                    raise StartError(
                        f"the process {await child.died()} while it loaded the project"
                    )
        except TimeoutError:
            await child.end()
            raise StartError(f"the process has not loaded the project within {START:g} s") from None
        except BaseException:
            await child.end()
            raise
        return child

    @property
    def is_alive(self) -> bool:
        """Whether it can execute a run."""
        return self._process.returncode is None and not self._reader.at_eof()

    def send(self, message: Message) -> None:
        """Sends the message; nothing happens if the process has died."""
        self.is_used = self.is_used or isinstance(message, Execute)
        if not self._writer.is_closing():
            messages.write(self._writer, message)

    async def receive(self) -> Message | None:
        """Returns the next message, None once the process has ended or closed its socket."""
        return await messages.read(self._reader)

    async def died(self) -> str:
        """Returns how the process ended, in words; it is ended if it still lives."""
        try:
            status = await asyncio.wait_for(self._process.wait(), LAST_WORDS)
        except TimeoutError:
            await self.end()
            return "closed its socket and was ended"
        return _in_words(status)

    async def end(self) -> None:
        """Ends the process at once."""
        if self.ending is not None:
            self.ending.cancel()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._writer.close()


class Processes:
    """The processes of one worker: at most `most` at a time."""

    def __init__(self, argv: Sequence[str], *, most: int) -> None:
        """`argv` is the command of one process."""
        self._argv = argv
        self._places = asyncio.Semaphore(most)
        self._idle: list[ChildProcess] = []
        self._ends: set[asyncio.Task[None]] = set()

    async def take(self, *, unused: bool = False) -> ChildProcess:
        """Returns a process that executes nothing, once there is a place; raises StartError.

        Args:
            unused: whether it must be one that has executed nothing before.
        """
        await self._places.acquire()
        try:
            while self._idle:
                child = self._idle.pop()
                if child.is_alive and not (unused and child.is_used):
                    if child.ending is not None:
                        child.ending.cancel()
                    return child
                self._end(child)
            return await ChildProcess.start(self._argv)
        except BaseException:
            self._places.release()
            raise

    def give_back(self, child: ChildProcess, *, is_idle: bool) -> None:
        """Takes the process back: it is kept for another run only if nothing runs in it any more."""
        self._places.release()
        if not (is_idle and child.is_alive):
            self._end(child)
            return
        self._idle.append(child)
        child.ending = asyncio.get_running_loop().call_later(IDLE, self._end_idle, child)

    async def warm_up(self) -> None:
        """Starts one process ahead of the first run that needs it."""
        try:
            self.give_back(await self.take(), is_idle=True)
        except StartError as error:
            log.error("No process for isolated runs can be started: %s.", error)

    async def aclose(self) -> None:
        """Ends all processes that execute nothing."""
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


def _in_words(status: int) -> str:
    """Returns how a process ended, of the status that asyncio gives."""
    if status >= 0:
        return f"ended itself with exit status {status}"
    names = {number.value: number for number in signal.Signals}
    number = names.get(-status)
    if number is None:
        return f"was ended by signal {-status}"
    return f"was ended by signal {-status} ({number.name}{HINTS.get(number, '')})"
