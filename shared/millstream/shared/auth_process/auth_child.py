"""One authentication process, as its parent sees it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from millstream.shared.auth_process import messages
from millstream.shared.auth_process.messages import (
    Allowed,
    Answer,
    Authenticate,
    Authenticated,
    Authorize,
    Body,
    BodyRequest,
    Cancel,
    Denied,
    Failed,
    Ping,
    Pong,
    Ready,
)
from millstream.shared.child_process import ChildProcess, StartError
from millstream.shared.errors import UnavailableError

log = logging.getLogger(__name__)

START_SECONDS: Final = 60.0  # in which the process must load the project
PING_SECONDS: Final = 1.0
STALLED_PINGS: Final = 5  # intervals without Pong, after which a process is killed

ReadBody = Callable[[], Awaitable[bytes]]


class _Pending:
    """A question without an answer, and the sending of the request's body to the process."""

    def __init__(self, read_body: ReadBody | None) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.read_body = read_body
        self.sending: asyncio.Task[None] | None = None

    async def wait(self, seconds: float) -> Answer:
        """Returns the answer; raises TimeoutError. The time that the client takes for its body does not count."""
        is_extended = False
        while True:
            done, _ = await asyncio.wait({self.answer}, timeout=seconds)
            if done:
                return self.answer.result()
            if self.sending is None or is_extended:
                raise TimeoutError
            is_extended = self.sending.done()

    def fail(self, error: BaseException) -> None:
        """Ends the wait with an error."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def note_sent(self, sending: "asyncio.Task[None]") -> None:
        """Ends the wait if the body can't be read: the client left, or its body is too large."""
        if not sending.cancelled() and (error := sending.exception()) is not None:
            self.fail(error)

    def close(self) -> None:
        """Stops the sending of the body."""
        if self.sending is not None:
            self.sending.cancel()


class AuthChild(ChildProcess):
    """A process that answers any number of questions at a time.

    Attributes:
        ready: which arguments and handlers the project has.
        on_response: called when the process responds again after a pause.
    """

    def __init__(self, *connection: Any) -> None:
        """`connection` is that of ChildProcess."""
        super().__init__(*connection)
        self.ready = Ready([], [])
        self.on_response: Callable[[], None] = lambda: None
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        self._is_pinged = False
        self._silent_pings = 0
        self._needs_ping = False

    @classmethod
    async def start(cls, argv: Sequence[str]) -> "AuthChild":
        """Starts a process and waits until it has loaded the project.

        Raises StartError with the process's reason.
        """
        child = await cls.spawn(argv)
        first = messages.decode_from_child(await child.first_frame(START_SECONDS))
        if isinstance(first, Ready):
            child.ready = first
            return child
        await child.end()
        raise StartError(first.text if isinstance(first, Failed) else f"it sent {first!r}")

    @property
    def pending(self) -> int:
        """The number of questions without an answer."""
        return len(self._pending)

    @property
    def is_responsive(self) -> bool:
        """Whether its event loop has answered the latest ping in time."""
        return self._silent_pings == 0 and self.is_alive

    async def ask(
        self,
        make: Callable[[int], Authenticate | Authorize],
        seconds: float,
        read_body: ReadBody | None = None,
    ) -> Answer:
        """Sends a question and returns its answer.

        Args:
            make: returns the question for its id.
            seconds: in which the answer must arrive. The time in which the client sends its body does not count.
            read_body: returns the body of the client's request, if the project reads it.

        Raises:
            TimeoutError: there is no answer in time.
            UnavailableError: the process ended.
        """
        self._last_id += 1
        id, pending = self._last_id, _Pending(read_body)
        self._pending[id] = pending
        try:
            self.send_frame(messages.encode(make(id)))
            return await pending.wait(seconds)
        except TimeoutError:
            self._needs_ping = True  # its event loop may be blocked
            raise
        finally:
            del self._pending[id]
            if not pending.answer.done():
                self.send_frame(messages.encode(Cancel(id)))
            pending.close()

    async def serve(self) -> str:
        """Receives answers until the process has ended; returns how, as a predicate.

        Kills a process whose event loop is blocked, or that is stopped. Cancelled, it ends the process.
        """
        watching = asyncio.create_task(self._watch())
        try:
            while (data := await self.receive_frame()) is not None:
                self._receive(messages.decode_from_child(data))
            if watching.done():
                return f"did not respond for {PING_SECONDS * STALLED_PINGS:g} s and was ended"
            return await self.describe_end()
        except msgspec.MsgspecError as error:  # code of the project has written to the socket
            return f"sent invalid data ({error}) and was ended"
        finally:
            watching.cancel()
            await self.end()
            for pending in self._pending.values():
                pending.fail(UnavailableError("The authentication process ended. Try again."))

    def _receive(self, message: messages.FromChild) -> None:
        match message:
            case Authenticated(id) | Allowed(id) | Denied(id):
                pending = self._pending.get(id)
                if pending is not None and not pending.answer.done():
                    pending.answer.set_result(message)
            case BodyRequest(id):
                pending = self._pending.get(id)
                if pending is not None and pending.read_body is not None:
                    pending.sending = asyncio.create_task(self._send_body(id, pending.read_body))
                    pending.sending.add_done_callback(pending.note_sent)
            case Pong():
                self._is_pinged = False
                if self._silent_pings:
                    self._silent_pings = 0
                    self.on_response()

    async def _send_body(self, id: int, read_body: ReadBody) -> None:
        self.send_frame(messages.encode(Body(id, await read_body())))

    async def _watch(self) -> None:
        """Pings the process while questions have no answer. Kills it after STALLED_PINGS intervals without Pong.

        Intervals are counted, not time: the parent may have been stopped too.
        """
        while self._silent_pings < STALLED_PINGS:
            await asyncio.sleep(PING_SECONDS)
            if self._is_pinged:
                self._silent_pings += 1
            elif self._pending or self._needs_ping:
                self._needs_ping = False
                self._is_pinged = True
                self.send_frame(messages.encode(Ping()))
        self._process.kill()
