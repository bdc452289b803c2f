"""Authenticates requests by the function under `@auth.authenticate` of the project (`auth.path` of langgraph.json)."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from millstream.api.auth.authentication import AuthRequest
from millstream.api.auth.user_cache import UserCache
from millstream.shared.access import User
from millstream.shared.auth_process.authorizer import ProjectAuthorizer
from millstream.shared.auth_process.processes import AuthProcesses, command
from millstream.shared.langgraph_json.auth import AuthConfig
from millstream.shared.setting import ON
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)

REQUEST_CLASS: Final = "starlette.requests:Request"  # of the argument `request`
# LangGraph Studio. Source of header and value: langgraph-api, by which Studio calls servers.
SCHEME_HEADER: Final = "x-auth-scheme"
STUDIO_SCHEME: Final = "langsmith"
STUDIO_USER: Final = {
    "identity": "langgraph-studio-user",
    "display_name": "langgraph-studio-user",
    "is_authenticated": True,
    "permissions": ["authenticated"],
    "kind": "StudioUser",
}
# What of an ASGI scope reaches the project's `request`: all that describes the request, no objects of the server.
SCOPE_KEYS: Final = (
    "http_version", "scheme", "path", "raw_path", "query_string", "root_path", "client", "server",
)  # fmt: skip
HEADERS_DECIDE: Final = frozenset(
    {"headers", "authorization"}
)  # arguments that the cache's key may cover


class ProjectAuthenticator:
    """Asks the project's code, in a process of its own; an authentication.Authenticator."""

    def __init__(
        self, processes: AuthProcesses, config: AuthConfig, *, admits_studio: bool = False
    ) -> None:
        """Takes the processes after their start.

        Args:
            processes: answer the question.
            config: `auth` of langgraph.json.
            admits_studio: whether LangGraph Studio needs no credentials, unless the project disables that.
        """
        self._processes = processes
        self._studio = (
            User.of(STUDIO_USER) if admits_studio and not config.disable_studio_auth else None
        )
        has_cache = config.cache is not None and bool(config.cache.cache_keys)
        self._cache = UserCache(config.cache) if config.cache is not None and has_cache else None
        others = sorted(processes.parameters - HEADERS_DECIDE)
        if self._cache is not None and others:
            log.warning(
                "auth.cache: the function under @auth.authenticate also takes %s, which a cached user does not "
                "depend on",
                ", ".join(others),
            )

    async def authenticate(self, request: AuthRequest) -> User:
        """Returns the user. Raises AccessError, UnavailableError, and what reading the body raises."""
        headers = request.headers
        if self._studio is not None and headers.get(SCHEME_HEADER) == STUDIO_SCHEME:
            return self._studio
        if self._cache is None:
            return await self._ask(request)
        key = self._cache.key_of(headers)
        user = None if key is None else self._cache.get(key)
        if user is None:
            user = await self._ask(request)
            if key is not None:
                self._cache.put(key, user)
        return user

    async def _ask(self, request: AuthRequest) -> User:
        names = self._processes.parameters
        arguments: dict[str, Any] = {}
        for name in names - {"request", "body"}:
            arguments[name] = READERS[name](request)
        if "body" in names:
            arguments["body"] = _json(await request.body())
        if "request" in names:
            return await self._processes.authenticate(
                arguments, scope=_scope(request), read_body=request.body
            )
        return await self._processes.authenticate(arguments)


@dataclass(frozen=True, slots=True)
class ProjectAuth:
    """What the project's `auth` decides: the user of a request, and what its users may do."""

    authenticator: ProjectAuthenticator
    authorizer: ProjectAuthorizer
    processes: AuthProcesses


def project_processes(config: Path, settings: Settings) -> AuthProcesses:
    """Returns the processes for `auth.path` of a langgraph.json, which are not started."""
    return AuthProcesses(
        command(config, REQUEST_CLASS),
        processes=settings.auth_processes,
        timeout=settings.auth_timeout,
    )


@asynccontextmanager
async def open_project_auth(
    processes: AuthProcesses, auth: AuthConfig, settings: Settings
) -> AsyncIterator[ProjectAuth]:
    """Starts the processes, unless they run already, and ends them after the block.

    Raises SettingError if the project's file can't be used.
    """
    try:
        await processes.start()
        authorizer = ProjectAuthorizer(processes, deny_unhandled=settings.auth_deny_unhandled in ON)
        authorizer.report_handlers()
        authenticator = ProjectAuthenticator(
            processes, auth, admits_studio=settings.studio_access in ON
        )
        yield ProjectAuth(authenticator, authorizer, processes)
    finally:
        await processes.aclose()


def _method(request: AuthRequest) -> str:
    # The handshake of a WebSocket is a GET.
    return "GET" if request.scope["type"] == "websocket" else request.method


def _path_params(request: AuthRequest) -> dict[str, str]:
    return {name: str(value) for name, value in request.path_params.items()}


# The arguments of the project's function, by name. Source: langgraph_sdk.Auth.authenticate.
READERS: Final[dict[str, Callable[[AuthRequest], Any]]] = {
    "path": lambda request: request.scope["path"],
    "method": _method,
    "path_params": _path_params,
    "query_params": lambda request: dict(request.query_params),
    "headers": lambda request: request.headers.raw,
    "authorization": lambda request: request.headers.get("authorization"),
}


def _json(body: bytes) -> Any:
    """Returns the parsed body; None if it is empty or no JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _scope(request: AuthRequest) -> Mapping[str, Any]:
    """Returns the scope of the project's `request`, which is an HTTP request for a WebSocket's handshake too."""
    scope = {name: request.scope[name] for name in SCOPE_KEYS if name in request.scope}
    scheme = scope.get("scheme", "http")
    return {
        **scope,
        "type": "http",
        "method": _method(request),
        "scheme": {"ws": "http", "wss": "https"}.get(scheme, scheme),
        "headers": request.headers.raw,
        "path_params": _path_params(request),
    }
