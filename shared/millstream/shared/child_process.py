"""A child process that talks to its parent over a socket pair, and ends with it.

Each message is its size (4 bytes, big-endian), then its data.
"""

import asyncio
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, Self

from millstream.shared.parent_death import dies_with_parent

SIZE_BYTES: Final = 4
EXIT_SECONDS: Final = 2.0  # in which a process must end after its socket has closed


class StartError(Exception):
    """A process could not be started, or ended before its first message; the text says why."""


def frame(data: bytes) -> bytes:
    """Returns the data of a message as it is sent."""
    return len(data).to_bytes(SIZE_BYTES, "big") + data


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """Returns the data of the next message, or None once the other side has closed the socket."""
    try:
        size = int.from_bytes(await reader.readexactly(SIZE_BYTES), "big")
        return await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class ChildProcess:
    """A process and the parent's end of the socket pair."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """`reader` and `writer` belong to the parent's end of the socket pair."""
        self._process = process
        self._reader = reader
        self._writer = writer

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._process.pid}, {self._process.returncode}>"

    @classmethod
    async def spawn(cls, argv: Sequence[str], **arguments: Any) -> Self:
        """Starts a process; raises StartError. The process finds the number of its socket after `--socket`.

        The kernel sends it SIGKILL when the parent dies. `arguments` are further ones of the class.
        """
        try:
            with ExitStack() as on_error:
                parent_end, child_end = socket.socketpair()
                on_error.callback(parent_end.close)
                with child_end:
                    number = child_end.fileno()
                    process = await asyncio.create_subprocess_exec(
                        *dies_with_parent([*argv, "--socket", str(number)], signal.SIGKILL),
                        stdin=asyncio.subprocess.DEVNULL,
                        pass_fds=[number],
                    )
                on_error.callback(_kill, process)
                reader, writer = await asyncio.open_connection(sock=parent_end)
                on_error.pop_all()
        except OSError as error:  # no memory, no file descriptors, too many processes
            raise StartError(f"the system can't start a process: {error}") from None
        return cls(process, reader, writer, **arguments)

    async def first_frame(self, seconds: float) -> bytes:
        """Returns the data of the first message, which says that the process has loaded the project.

        Raises StartError if the process ends before, or needs longer than `seconds`. Any error ends the process.
        """
        try:
            async with asyncio.timeout(seconds):
                data = await read_frame(self._reader)
            if data is None:
                raise StartError(
                    f"the process {await self.describe_end()} while it loaded the project"
                )
        except TimeoutError:
            await self.end()
            raise StartError(
                f"the process has not loaded the project within {seconds:g} s"
            ) from None
        except BaseException:
            await self.end()
            raise
        return data

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs and its socket is open."""
        return self._process.returncode is None and not self._reader.at_eof()

    def send_frame(self, data: bytes) -> None:
        """Sends a message; it is lost if the process has died."""
        if not self._writer.is_closing():
            self._writer.write(frame(data))

    async def receive_frame(self) -> bytes | None:
        """Returns the data of the next message, None once the process has ended or closed its socket."""
        return await read_frame(self._reader)

    async def describe_end(self) -> str:
        """Returns how the process ended, as a predicate. Ends the process if it is still alive."""
        try:
            status = await asyncio.wait_for(self._process.wait(), EXIT_SECONDS)
        except TimeoutError:
            await self.end()
            return "closed its socket and was ended"
        return _describe_status(status)

    async def end(self) -> None:
        """Ends the process at once, also one that is stopped."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._writer.close()


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        process.kill()


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
