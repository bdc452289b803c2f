"""The child processes in which a worker executes isolated runs: starts, reuses and ends them."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from millstream.shared.child_process import ChildProcess, StartError
from millstream.worker.isolation import messages
from millstream.worker.isolation.messages import Execute, Message

log = logging.getLogger(__name__)

IDLE_SECONDS: Final = 60.0  # after which an idle process is ended
START_SECONDS: Final = 300.0  # in which a process must load the project


def command(config: Path, worker_id: str) -> list[str]:
    """Returns the command of a worker's child process for the project of this langgraph.json."""
    # -P, so that no file of the project is imported in place of a library. The path is absolute, as a node may
    # change the working directory.
    module, path = "millstream.worker.isolation.child", os.path.abspath(config)
    return [sys.executable, "-P", "-m", module, "--worker", worker_id, "--config", path]


class RunProcess(ChildProcess):
    """A process that executes one run at a time."""

    def __init__(self, *connection: Any) -> None:
        """`connection` is that of ChildProcess."""
        super().__init__(*connection)
        self.idle_timer: asyncio.TimerHandle | None = None  # ends the process while it is idle
        self.is_used = False  # whether it has executed a run

    @classmethod
    async def start(cls, argv: Sequence[str]) -> "RunProcess":
        """Starts a process and waits until it has loaded the project; raises StartError."""
        process = await cls.spawn(argv)
        await process.first_frame(START_SECONDS)  # Ready: no other message is sent before a run
        return process

    def send(self, message: Message) -> None:
        """Sends the message; it is lost if the process has died."""
        self.is_used = self.is_used or isinstance(message, Execute)
        self.send_frame(messages.encode(message))

    async def receive(self) -> Message | None:
        """Returns the next message, None once the process has ended or closed its socket."""
        data = await self.receive_frame()
        return None if data is None else messages.decode(data)

    async def end(self) -> None:
        """Ends the process at once."""
        if self.idle_timer is not None:
            self.idle_timer.cancel()
        await super().end()


class Processes:
    """The child processes of one worker."""

    def __init__(self, argv: Sequence[str], *, max_processes: int) -> None:
        """`argv` is the command of one process; at most `max_processes` of them execute runs at a time."""
        self._argv = argv
        self._slots = asyncio.Semaphore(max_processes)
        self._idle: list[RunProcess] = []
        self._ends: set[asyncio.Task[None]] = set()

    async def take(self, *, unused: bool = False) -> RunProcess:
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
            return await RunProcess.start(self._argv)
        except BaseException:
            self._slots.release()
            raise

    def give_back(self, child: RunProcess, *, is_idle: bool) -> None:
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

    def _end_idle(self, child: RunProcess) -> None:
        if child in self._idle:
            self._idle.remove(child)
            self._end(child)

    def _end(self, child: RunProcess) -> None:
        task = asyncio.get_running_loop().create_task(child.end())
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
