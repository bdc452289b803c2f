"""The authentication processes of one API or worker: starts them, asks them, and replaces those that die."""

import asyncio
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from structlog.contextvars import get_contextvars

from millstream.shared.access.user import User
from millstream.shared.auth_process.auth_child import AuthChild, ReadBody
from millstream.shared.auth_process.messages import (
    Allowed,
    Answer,
    Authenticate,
    Authenticated,
    Authorize,
    Denied,
    Ready,
)
from millstream.shared.auth_process.resolution import handler_keys
from millstream.shared.child_process import StartError
from millstream.shared.errors import (
    AccessError,
    ForbiddenError,
    SettingError,
    UnauthenticatedError,
    UnavailableError,
)

log = logging.getLogger(__name__)

SDK: Final = "langgraph_sdk"  # which alone the process imports, not its parent
FIRST_PAUSE: Final = 0.5  # s before the second restart; it doubles
MAX_PAUSE: Final = 10.0  # s
CHALLENGE: Final = "www-authenticate"
HEALTHY_SECONDS: Final = 60.0  # after which a process that ends is restarted at once again


def command(config: Path, request_class: str = "") -> list[str]:
    """Returns the command of a process for the project of this langgraph.json.

    `request_class` is the `module:name` of the class of `request`; '' for a parent that authenticates no requests.
    Raises SettingError if langgraph_sdk is not installed.
    """
    if importlib.util.find_spec(SDK) is None:
        raise SettingError(
            '`auth` of langgraph.json needs a package: pip install "millstream[auth]".'
        )
    module, path = "millstream.shared.auth_process.child", os.path.abspath(config)
    # -P, so that no file of the project is imported in place of a library.
    return [sys.executable, "-P", "-m", module, "--config", path, "--request-class", request_class]


class Pauses:
    """The pauses before restarts: none after a process that lived long, else each is twice the one before."""

    def __init__(self) -> None:
        """Begins with no pause."""
        self._next = 0.0

    def after(self, lived: float) -> float:
        """Returns the seconds to wait after a process that lived for `lived` seconds."""
        pause = 0.0 if lived > HEALTHY_SECONDS else self._next
        self._next = min(max(2 * pause, FIRST_PAUSE), MAX_PAUSE)
        return pause


class AuthProcesses:
    """Answers the questions of one API or worker by the project's handlers."""

    def __init__(self, argv: Sequence[str], *, processes: int, timeout: float) -> None:
        """Starts nothing.

        Args:
            argv: the command of one process.
            processes: their number.
            timeout: seconds in which a question must be answered.
        """
        self._argv = argv
        self._count = processes
        self._timeout = timeout
        self._children: list[AuthChild] = []
        self._changed = asyncio.Event()
        self._supervising: list[asyncio.Task[None]] = []
        self._ready = Ready([], [])
        self._handled: frozenset[tuple[str, str]] = frozenset()

    async def start(self) -> None:
        """Starts the processes, and returns once one has loaded the project; a repeated call returns at once.

        Raises SettingError, which says why the project can't be loaded.
        """
        if self._supervising:
            return
        try:
            first = await AuthChild.start(self._argv)
        except StartError as error:
            raise SettingError(f"The project's `auth` can't be used: {error}") from None
        self._add(first)
        self._supervising = [
            asyncio.create_task(self._supervise(first if number == 0 else None))
            for number in range(self._count)
        ]

    async def aclose(self) -> None:
        """Ends the processes."""
        for task in self._supervising:
            task.cancel()
        await asyncio.gather(*self._supervising, return_exceptions=True)
        self._supervising = []
        for child in self._children:  # a task that had not begun has ended none
            await child.end()
        self._children = []

    @property
    def pids(self) -> list[int]:
        """The ids of the processes."""
        return [child.pid for child in self._children]

    @property
    def parameters(self) -> frozenset[str]:
        """The arguments that the project's authenticate function takes."""
        return frozenset(self._ready.parameters)

    @property
    def handled(self) -> frozenset[tuple[str, str]]:
        """The (resource, action) pairs that the project has registered; `*` is any."""
        return self._handled

    def handles(self, resource: str, action: str) -> bool:
        """Returns whether the project has a handler that decides on the action."""
        return not self._handled.isdisjoint(handler_keys(resource, action))

    async def authenticate(
        self,
        arguments: Mapping[str, Any],
        *,
        scope: Mapping[str, Any] | None = None,
        read_body: ReadBody | None = None,
    ) -> User:
        """Returns the user of a request.

        Args:
            arguments: those of `parameters`, except `request`.
            scope: of the request, if `request` is a parameter: what msgpack can encode of ASGI's.
            read_body: returns the body, if the function reads it from `request`.

        Raises:
            AccessError: the project denies the request, or its code failed.
            UnavailableError: there was no answer in time.
            Exception: what `read_body` raises.
        """
        request_id = _request_id()
        answer = await self._ask(
            lambda id: Authenticate(
                id, dict(arguments), None if scope is None else dict(scope), request_id
            ),
            read_body,
        )
        if isinstance(answer, Authenticated):
            try:
                return User.of(msgspec.json.decode(answer.user))
            except ValueError as error:
                log.error(
                    "the function under @auth.authenticate returned an invalid user: %s", error
                )
        raise _error(answer, UnauthenticatedError)

    async def authorize(
        self, user: User, resource: str, action: str, value: dict[str, Any]
    ) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """Returns the filter of the project's handler, None for no restriction, and the value as the handler left it.

        Call it only if `handles` is true. Raises AccessError if the action is denied, UnavailableError if there was
        no answer in time.
        """
        request_id, data = _request_id(), msgspec.json.encode(value)
        answer = await self._ask(
            lambda id: Authorize(id, user.pack(), resource, action, data, request_id)
        )
        if not isinstance(answer, Allowed):
            raise _error(answer, ForbiddenError)
        restriction = None if answer.filter is None else msgspec.json.decode(answer.filter)
        return restriction, value if answer.value is None else msgspec.json.decode(answer.value)

    async def _ask(
        self, make: Callable[[int], Authenticate | Authorize], read_body: ReadBody | None = None
    ) -> Answer:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._timeout
        try:
            child = self._usable() or await self._wait_for_usable()
            return await child.ask(make, max(deadline - clock(), 0), read_body)
        except TimeoutError:
            raise UnavailableError(
                f"The project's `auth` did not answer within {self._timeout:g} s. Try again."
            ) from None

    def _usable(self) -> AuthChild | None:
        """Returns the process with the fewest questions; None if all are blocked or dead."""
        usable = [child for child in self._children if child.is_responsive]
        return min(usable, key=lambda child: child.pending, default=None)

    async def _wait_for_usable(self) -> AuthChild:
        async with asyncio.timeout(self._timeout):
            while True:
                changed = self._changed
                if (child := self._usable()) is not None:
                    return child
                await changed.wait()

    def _add(self, child: AuthChild) -> None:
        self._ready = child.ready
        self._handled = frozenset((resource, action) for resource, action in child.ready.handlers)
        child.on_response = self._notify
        self._children.append(child)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _supervise(self, child: AuthChild | None) -> None:
        """Keeps one process running: starts another whenever it ends."""
        clock = asyncio.get_running_loop().time
        pauses = Pauses()
        while True:
            if child is None:
                child = await self._start_another()
            lived = 0.0
            if child is not None:
                started = clock()
                try:
                    end = await child.serve()
                finally:
                    self._children.remove(child)
                log.error("the authentication process %s; another one is started", end)
                lived, child = clock() - started, None
            await asyncio.sleep(pauses.after(lived))

    async def _start_another(self) -> AuthChild | None:
        try:
            child = await AuthChild.start(self._argv)
        except StartError as error:
            log.error("no authentication process can be started: %s", error)
            return None
        self._add(child)
        return child


def _request_id() -> str:
    """Returns the id of the client's request that the current task serves; '' without one."""
    return str(get_contextvars().get("request_id", ""))


def _error(answer: Answer, default: Callable[[], AccessError]) -> AccessError:
    """Returns the error for a denial: the project's own, or else the default."""
    if not isinstance(answer, Denied) or not answer.status:
        return default()
    headers = answer.headers
    if answer.status == 401 and not any(name.lower() == CHALLENGE for name in headers):
        headers = {CHALLENGE: "Bearer", **headers}  # HTTP demands one
    return AccessError(answer.detail, status=answer.status, headers=headers)
