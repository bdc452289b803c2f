"""Applies the limits of callers to requests: before authentication by the address, after it by the user.

See docs/limits.md. What a request has taken is given back when it has ended.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millstream.api.http.context import LIMITS, USER
from millstream.api.http.endpoint import Endpoint
from millstream.api.http.problems import headers_of, problem
from millstream.api.limits.caller_limits import CallerLimits
from millstream.api.limits.callers import address_of, digest
from millstream.api.limits.failed_auth import credentials_of
from millstream.api.process import Process
from millstream.shared.access import User
from millstream.shared.errors import OverloadedError, RateLimitedError

FREE: Final = frozenset({"/ok", "/info"})  # for probes
TOO_MANY: Final = 4429  # close code of a WebSocket: 4000 + the status that HTTP would have
MAX_REASON_CHARS: Final = 120  # of a close: it has room for 123 bytes

ProcessOf = Callable[[Scope], Process]


class CallerLimitsMiddleware:
    """Opens the limits of each request, for its address. Stands outside of the authentication.

    An address that has sent too many invalid credentials gets 429.
    """

    def __init__(self, app: ASGIApp, process_of: ProcessOf) -> None:
        """`process_of` returns the process that serves a request."""
        self._app = app
        self._process_of = process_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forwards the request, and gives back what it has taken when it has ended."""
        if scope["type"] not in ("http", "websocket") or LIMITS in scope or is_free(scope):
            await self._app(scope, receive, send)
            return
        process = self._process_of(scope)
        address = address_of(scope)
        limits = scope[LIMITS] = CallerLimits(process.limits, digest("address", address))
        failed_auth = process.limits.failed_auth
        credentials = credentials_of(scope["headers"]) if process.auth.is_on else b""
        is_first = True

        async def noted(message: Message) -> None:
            nonlocal is_first
            if is_first:
                is_first = False
                limits.release_body()
                if USER in scope:
                    failed_auth.passed(credentials)
                elif process.auth.is_on and _is_unauthenticated(message):
                    failed_auth.failed(address)
            await send(message)

        try:
            if process.auth.is_on:
                seconds = failed_auth.wait_seconds(address, credentials)
                if seconds:
                    error = RateLimitedError(
                        "Too many requests with invalid credentials came from this address. "
                        f"Try again in {math.ceil(seconds)} s.",
                        retry_after=math.ceil(seconds),
                    )
                    await refuse(error, scope, receive, send)
                    return
            await self._app(scope, receive, noted)
        finally:
            limits.close()


class RateLimits:
    """Takes quota for each request, of its user or its address. Stands inside of the authentication."""

    def __init__(self, app: ASGIApp, process_of: ProcessOf, endpoints: Iterable[Endpoint]) -> None:
        """The endpoints that start a run take quota for it in the same step."""
        self._app = app
        self._process_of = process_of
        starting = [each.path for each in endpoints if each.starts_run]
        self._starts_run = re.compile(
            "|".join(re.sub(r"{\w+}", "[^/]+", path) for path in starting) or "(?!)"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forwards the request, or responds 429."""
        if scope["type"] not in ("http", "websocket") or is_free(scope):
            await self._app(scope, receive, send)
            return
        limits: CallerLimits = scope[LIMITS]
        user: User | None = scope.get(USER)
        if user is not None:
            limits.become(digest("user", user.identity))
        if not self._process_of(scope).limits.rates.is_on:
            await self._app(scope, receive, send)
            return
        runs = (
            scope.get("method") == "POST" and self._starts_run.fullmatch(path_of(scope)) is not None
        )
        try:
            headers = await limits.take_request(runs=int(runs))
        except RateLimitedError as error:
            await refuse(error, scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                response = MutableHeaders(scope=message)
                for name, value in headers.items():
                    response.setdefault(name, value)  # an error has newer ones
            await send(message)

        await self._app(scope, receive, with_headers if headers else send)


def path_of(scope: Scope) -> str:
    """Returns the path of a request without the prefix that the application is mounted at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def is_free(scope: Scope) -> bool:
    """Returns whether a request takes no quota."""
    return scope["type"] == "http" and path_of(scope) in FREE


async def refuse(error: OverloadedError, scope: Scope, receive: Receive, send: Send) -> None:
    """Responds 429. A WebSocket is accepted first: browsers can't read the status of a refused handshake."""
    if scope["type"] == "http":
        await problem(429, str(error), headers_of(error))(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send(
        {"type": "websocket.close", "code": TOO_MANY, "reason": str(error)[:MAX_REASON_CHARS]}
    )


def _is_unauthenticated(message: Message) -> bool:
    return message.get("status") == 401 or message["type"] == "websocket.close"
