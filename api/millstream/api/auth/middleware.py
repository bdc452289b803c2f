"""Authenticates requests and WebSocket handshakes before anything looks at their path, ids or body."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from starlette.authentication import AuthCredentials
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millstream.api.auth.authentication import AuthRequest
from millstream.api.http import problems
from millstream.api.http.body import read_body
from millstream.api.http.context import AUTHENTICATE, PROCESS, USER
from millstream.api.process import Process
from millstream.shared.errors import MillstreamError
from millstream.shared.redis import OUTAGE_ERRORS

# Open to all: for probes, and what clients and people read before they have credentials.
OPEN_PATHS: Final = frozenset({"/ok", "/info", "/docs", "/openapi.json"})
DOCS_FILES: Final = "/docs/"

# What an authenticator or the reading of a body raises, and problems.py has a response for.
KNOWN_ERRORS: Final = (MillstreamError, HTTPException, ClientDisconnect, *OUTAGE_ERRORS)

IsExempt = Callable[[Scope], bool]


class AuthenticationMiddleware:
    """Sets the user of a request, or responds 401 (or what an authenticator responds)."""

    def __init__(
        self,
        app: ASGIApp,
        process_of: Callable[[Scope], Process],
        routes: Callable[[], list[BaseRoute]],
        is_exempt: IsExempt = lambda _: False,
        is_closed: IsExempt = lambda _: False,
    ) -> None:
        """Protects `app`.

        Args:
            process_of: returns the process that serves a request.
            routes: returns the routes, in which the parameters of paths are found.
            is_exempt: whether a request needs no user though its path is not open.
            is_closed: whether a request needs a user though its path is open.
        """
        self._app = app
        self._process_of = process_of
        self._routes = routes
        self._is_exempt = is_exempt
        self._is_closed = is_closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticates the request and forwards it."""
        if scope["type"] not in ("http", "websocket") or USER in scope:
            await self._app(scope, receive, send)
            return
        if is_open(scope) and not self._is_closed(scope):
            await self._app(scope, receive, send)
            return
        process = scope[PROCESS] = self._process_of(scope)
        if not process.auth.is_on or self._is_exempt(scope):
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive)
        request = AuthRequest(scope, body.read, lambda: self._path_params(scope))
        try:
            user = await process.auth.user_of(request)
        except KNOWN_ERRORS as error:
            response = await problems.response_to(Request({**scope, "type": "http"}), error)
            await _refuse(response, scope, receive, send)
            return
        scope[USER] = scope["user"] = (
            user  # the second for the project's routes, as Starlette's `request.user`
        )
        scope[AUTHENTICATE] = partial(process.auth.user_of, request)
        scope["auth"] = AuthCredentials(user.permissions)
        await self._app(scope, body.receive, send)

    def _path_params(self, scope: Scope) -> Mapping[str, Any]:
        for route in self._routes():
            match, child = route.matches(scope)
            if match is not Match.NONE:
                params: Mapping[str, Any] = child.get("path_params", {})
                return params
        return {}


def is_open(scope: Scope) -> bool:
    """Returns whether a path needs no user."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return path in OPEN_PATHS or path.startswith(DOCS_FILES)


class _Body:
    """A request's body, which an authenticator may read before the application does."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self._body: bytes | None = None
        self._replayed = False

    async def read(self) -> bytes:
        if self._scope["type"] != "http":
            return b""
        if self._body is None:
            self._body = await read_body(Request(self._scope, self._receive))
        return self._body

    async def receive(self) -> Message:
        if self._body is None or self._replayed:
            return await self._receive()
        self._replayed = True
        return {"type": "http.request", "body": self._body, "more_body": False}


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await response(scope, receive, send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await response(scope, receive, send)  # Starlette sends the extension's messages
    else:
        await receive()
        await send({"type": "websocket.close", "code": 4401, "reason": ""})
