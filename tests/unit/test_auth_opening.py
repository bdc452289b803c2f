"""The kinds of credentials of an API are tried in a safe order, and each user is judged by what knows it."""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import fakeredis
import pytest

from harness.credentials import request
from millstream.api.auth.authentication import AuthRequest
from millstream.api.auth.opening import open_kinds
from millstream.shared.access import Ask, Decision, Filter, User
from millstream.shared.access.owner_policy import BUILT_IN
from millstream.shared.api_keys.records import create_key
from millstream.shared.errors import SettingError, UnauthenticatedError
from millstream.shared.redis import Client
from millstream.shared.rules.auth_kinds import AuthKind
from millstream.shared.settings import Settings

OF_PROJECT = Filter.of({"tenant": "t"})


class SimulatedProject:
    """A project's `auth` that knows one token and refuses all others, as projects do."""

    async def authenticate(self, request: AuthRequest) -> User:
        if request.headers.get("authorization") != "Bearer project":
            raise UnauthenticatedError
        # A project may pass on what an identity provider says of a user.
        return User.of({"identity": "eve", "permissions": ["admin"], BUILT_IN: "api_key"})

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        return Decision(value, OF_PROJECT)


@dataclass(frozen=True)
class SimulatedAuth:
    authenticator: SimulatedProject
    authorizer: SimulatedProject


@asynccontextmanager
async def open_project(_: Settings) -> AsyncIterator[SimulatedAuth]:
    project = SimulatedProject()
    yield SimulatedAuth(project, project)


@pytest.fixture
def redis() -> Client:
    return fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())


async def test_each_user_is_judged_by_what_knows_it(redis: Client) -> None:
    key = await create_key(redis, name="ci", identity="ann", scopes=["read"])
    opened = open_kinds((AuthKind.CUSTOM, AuthKind.API_KEY), open_project)
    async with opened(Settings(), redis) as auth:
        assert auth.is_on
        assert auth.authorizer is not None
        # The project would refuse the key, so the key is tried first.
        ann = await auth.user_of(request(("x-api-key", key.text)))
        assert (ann.identity, ann.permissions, ann.fields[BUILT_IN]) == ("ann", ["read"], "api_key")
        assert (await auth.authorizer.decide(ann, "threads.read", {})).filter == Filter.of(
            {"owner": "ann"}
        )
        eve = await auth.user_of(request(("authorization", "Bearer project")))
        assert BUILT_IN not in eve.fields, "a user of the project must not pass for another"
        assert (await auth.authorizer.decide(eve, "threads.read", {})).filter == OF_PROJECT
        for headers in ([], [("authorization", "Bearer x")], [("x-api-key", "msk_x")]):
            with pytest.raises(UnauthenticatedError):
                await auth.user_of(request(*headers))


async def test_without_a_kind_nothing_is_needed(redis: Client) -> None:
    async with open_kinds((AuthKind.NOOP,))(Settings(), redis) as auth:
        assert not auth.is_on


def test_jwts_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SettingError, match=r"millstream\[jwt\]"):
        open_kinds((AuthKind.JWT,))
    open_kinds((AuthKind.API_KEY,))
