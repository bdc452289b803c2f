"""An API in the test's process that authenticates, on the running system's Redis and workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from millstream.api.app import create_app
from millstream.api.auth.authentication import Authentication, AuthRequest
from millstream.shared.access import User
from millstream.shared.access.owner_policy import BUILT_IN
from millstream.shared.langgraph_json.http import HeaderFilter, HttpSettings
from millstream.shared.redis import Client
from millstream.shared.settings import Settings

HEADER = "x-user"
SECRET = "a-field-of-the-user-that-nothing-shows"
ANY_HEADER = HeaderFilter(includes=["*"], excludes=[HEADER])


def fields_of(identity: str) -> dict[str, object]:
    """Returns the fields of a user."""
    return {
        "identity": identity,
        "display_name": identity.title(),
        "is_authenticated": True,
        "permissions": ["read", "write"],
        "team": "blue",
        "token": SECRET,
        BUILT_IN: "api_key",  # so workers decide on the crons of the user by its scopes
    }


class SimulatedAuthenticator:
    """Believes a header."""

    async def authenticate(self, request: AuthRequest) -> User | None:
        """Returns the user that the header names."""
        name = request.headers.get(HEADER)
        return User.of(fields_of(name)) if name else None


@asynccontextmanager
async def simulated_authentication(_: Settings, __: Client) -> AsyncIterator[Authentication]:
    """Opens an authentication that believes a header, and allows all."""
    yield Authentication(authenticators=[SimulatedAuthenticator()])


@asynccontextmanager
async def serve_users(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yields a client of an API whose requests need the header."""
    http = HttpSettings(configurable_headers=ANY_HEADER)
    api = create_app(Settings(redis_url=redis_url), http, open_auth=simulated_authentication)
    transport = httpx.ASGITransport(api)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client,
    ):
        yield client
