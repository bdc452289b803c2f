"""The credentials of a WebSocket are checked again with each of its commands."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from api.requests import System
from millstream.api.app import create_app
from millstream.api.auth.authentication import Authentication, AuthRequest
from millstream.shared.access import User
from millstream.shared.errors import UnauthenticatedError
from millstream.shared.redis import Client
from millstream.shared.settings import Settings


class SimulatedKeys:
    """Knows one user until it is revoked."""

    identity: str | None = "ann"

    async def authenticate(self, _: AuthRequest) -> User:
        if self.identity is None:
            raise UnauthenticatedError("The API key is invalid, expired or revoked.")
        return User.of({"identity": self.identity})


@pytest.mark.parametrize("later", [None, "bob"])
@pytest.mark.parametrize("method", ["agent.getTree", "subscription.subscribe"])
def test_a_socket_whose_credentials_ended_is_closed(
    system: System, method: str, later: str | None
) -> None:
    known = SimulatedKeys()

    @asynccontextmanager
    async def opened(_: Settings, __: Client) -> AsyncIterator[Authentication]:
        yield Authentication(authenticators=[known])

    api = create_app(Settings(redis_url=system.fleet.redis_url), open_auth=opened)
    path = f"/threads/{uuid.uuid4()}/stream/events"
    command = {"id": 1, "method": method, "params": {"channels": ["values"]}}
    with TestClient(api) as client, client.websocket_connect(path) as socket:
        socket.send_json({"id": 0, "method": "agent.getTree", "params": {}})
        assert socket.receive_json()["error"] == "no_such_run"
        known.identity = later
        socket.send_json(command)
        assert socket.receive_json()["error"] == "permission_denied"
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 4401
