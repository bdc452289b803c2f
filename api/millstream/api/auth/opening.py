"""Opens the authentication of an API process: an authenticator for each kind of credentials, and what decides."""

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from millstream.api.auth.api_keys import ApiKeyAuthenticator
from millstream.api.auth.authentication import (
    Authentication,
    Authenticator,
    AuthRequest,
    OpenAuthentication,
    without_authentication,
)
from millstream.shared.access import Ask, Authorizer, Decision, User
from millstream.shared.access.owner_policy import BUILT_IN, OwnerPolicy
from millstream.shared.api_keys.directory import KeyDirectory
from millstream.shared.errors import SettingError
from millstream.shared.issuer import Issuer
from millstream.shared.redis import Client
from millstream.shared.rules.auth_kinds import AuthKind
from millstream.shared.settings import Settings


class ProjectAuth(Protocol):
    """What the project's `auth` decides."""

    @property
    def authenticator(self) -> Authenticator:
        """Recognises users."""

    @property
    def authorizer(self) -> Authorizer:
        """Decides what they may do."""


OpenProjectAuth = Callable[[Settings], AbstractAsyncContextManager[ProjectAuth]]


def open_kinds(
    kinds: Sequence[AuthKind], open_project: OpenProjectAuth | None = None
) -> OpenAuthentication:
    """Returns what opens the authentication by these kinds of credentials.

    Args:
        kinds: of rules/auth_kinds.py.
        open_project: opens the project's `auth`; needed for `custom`.

    Raises SettingError for a kind whose packages are not installed.
    """
    if AuthKind.NOOP in kinds:
        return without_authentication
    if AuthKind.JWT in kinds and importlib.util.find_spec("jwt") is None:
        raise SettingError('JWTs need a package: pip install "millstream[jwt]".')

    @asynccontextmanager
    async def opened(settings: Settings, redis: Client) -> AsyncIterator[Authentication]:
        async with AsyncExitStack() as stack:
            authenticators: list[Authenticator] = []
            # Keys first: their prefix tells them from all other credentials, and the other kinds refuse what they do
            # not know.
            if AuthKind.API_KEY in kinds:
                keys = ApiKeyAuthenticator(KeyDirectory(redis))
                authenticators.append(_Marked(keys, AuthKind.API_KEY))
            if AuthKind.JWT in kinds:
                tokens = await stack.enter_async_context(_open_jwt(settings))
                authenticators.append(_Marked(tokens, AuthKind.JWT))
            authorizer: Authorizer = OwnerPolicy()
            if AuthKind.CUSTOM in kinds:
                assert open_project is not None
                project = await stack.enter_async_context(open_project(settings))
                authenticators.append(_Marked(project.authenticator, None))
                authorizer = _ByCredentials(authorizer, project.authorizer)
            yield Authentication(authenticators=authenticators, authorizer=authorizer)

    return opened


@asynccontextmanager
async def _open_jwt(settings: Settings) -> AsyncIterator[Authenticator]:
    """Yields what accepts JWTs. Reads the issuer's keys within the block, and does not wait for the first."""
    # Imported here, because the packages are an extra.
    from millstream.api.auth.issuer_keys import IssuerKeys
    from millstream.api.auth.tokens import JwtAuthenticator

    keys = IssuerKeys(Issuer(settings.jwt_issuer, settings.jwt_jwks_url))
    reading = asyncio.create_task(keys.run())
    try:
        yield JwtAuthenticator(keys, settings)
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


class _Marked:
    """Notes in each user the kind of its credentials."""

    def __init__(self, authenticator: Authenticator, kind: AuthKind | None) -> None:
        """`kind` is None for the project's code: its users must not look like those of a built-in kind."""
        self._authenticator = authenticator
        self._kind = kind

    async def authenticate(self, request: AuthRequest) -> User | None:
        user = await self._authenticator.authenticate(request)
        if user is None:
            return None
        fields = {name: value for name, value in user.fields.items() if name != BUILT_IN}
        return User(fields if self._kind is None else {**fields, BUILT_IN: str(self._kind)})


class _ByCredentials:
    """Lets the owner policy decide on users of built-in kinds of credentials, and the project on its own users."""

    def __init__(self, built_in: Authorizer, project: Authorizer) -> None:
        self._built_in = built_in
        self._project = project

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        decider = self._built_in if BUILT_IN in user.fields else self._project
        return await decider.decide(user, ask, value)
