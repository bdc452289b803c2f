"""The user of a request: the interface of authenticators, and the request as they read it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import HTTPConnection

from millstream.shared.access import Authorizer, User
from millstream.shared.errors import UnauthenticatedError
from millstream.shared.redis import Client
from millstream.shared.settings import Settings


class AuthRequest(HTTPConnection):
    """A request or a WebSocket handshake before it is authenticated.

    Attributes:
        method: of HTTP; `WEBSOCKET` for a handshake.
    """

    def __init__(
        self,
        scope: Any,
        read_body: Callable[[], Awaitable[bytes]],
        read_path_params: Callable[[], Mapping[str, Any]],
    ) -> None:
        """The two functions return the body, and the parameters in the path of the route."""
        super().__init__(scope)
        self.method: str = scope.get("method", "WEBSOCKET")
        self._read_body = read_body
        self._read_path_params = read_path_params

    async def body(self) -> bytes:
        """Returns the body, which the application still gets. Raises TooLargeError beyond the limit of bodies."""
        return await self._read_body()

    @property
    def path_params(self) -> dict[str, Any]:
        """The parameters in the path; {} for an unknown route."""
        return dict(self._read_path_params())


class Authenticator(Protocol):
    """Recognises one kind of credentials."""

    async def authenticate(self, request: AuthRequest) -> User | None:
        """Returns the user; None if the request has no credentials of this kind, so that the next one is asked.

        Raises:
            AccessError: the credentials are invalid.
            UnavailableError: they can't be checked now.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """Authenticates the callers of one process, and decides what they may do. Without authenticators, it is off."""

    authenticators: Sequence[Authenticator] = ()
    authorizer: Authorizer | None = None

    @property
    def is_on(self) -> bool:
        """Whether requests need credentials."""
        return bool(self.authenticators)

    async def user_of(self, request: AuthRequest) -> User:
        """Returns the user of the request. Raises AccessError, UnavailableError."""
        for authenticator in self.authenticators:
            user = await authenticator.authenticate(request)
            if user is not None:
                return user
        raise UnauthenticatedError(
            "Unauthorized: the request has no credentials that this server knows."
        )


# Opens the authentication of a process, with its client of Redis, and closes it at the end of the block.
OpenAuthentication = Callable[[Settings, Client], AbstractAsyncContextManager[Authentication]]


@asynccontextmanager
async def without_authentication(_: Settings, __: Client) -> AsyncIterator[Authentication]:
    """Yields an authentication that is off."""
    yield Authentication()
