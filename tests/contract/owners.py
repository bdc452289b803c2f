"""A process whose users own their records, and the contexts of their requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from millstream.api.auth.authentication import Authentication
from millstream.api.caller import Caller
from millstream.api.context import RequestContext
from millstream.api.process import Process, open_process
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.access import Ask, Authorizer, Decision, Filter, User
from millstream.shared.assistants import announce
from millstream.shared.errors import AccessError
from millstream.shared.langgraph_json.http import HttpSettings
from millstream.shared.redis import Client
from millstream.shared.settings import Settings
from millstream.shared.wire import GraphInfo, RunRequest

ECHO = RunRequest(assistant_id="echo", creates_thread=True)
ON_THREAD = RunRequest(assistant_id="echo")


class Owners:
    """Restricts each user to what it owns; stamps nothing, so that the filters alone do."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, dict[str, Any]]] = []
        self.denials: dict[Ask, AccessError] = {}

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        self.questions.append((ask, dict(value)))
        if ask in self.denials:
            raise self.denials[ask]
        if user.identity == "admin":
            return Decision(value)
        return Decision(value, Filter.of({"owner": user.identity}))


@asynccontextmanager
async def open_owned_process(
    redis: Client, server: EmbeddedRedis, authorizer: Authorizer
) -> AsyncIterator[Process]:
    """Yields the objects of an API process, with a graph that it may run and an authorizer."""

    @asynccontextmanager
    async def open_auth(_: Settings, __: Client) -> AsyncIterator[Authentication]:
        yield Authentication(authenticators=[_Nobody()], authorizer=authorizer)

    await announce(redis, [GraphInfo(graph_id="echo", queue="default")])
    settings = Settings(redis_url=server.url.rpartition("/")[0] + "/1")
    async with open_process(settings, HttpSettings(), open_auth=open_auth) as running:
        yield running


class _Nobody:
    async def authenticate(self, _: Any) -> User | None:
        return None


def of(process: Process, identity: str) -> RequestContext:
    """Returns the context of a new request of the user."""
    return RequestContext(process, Caller(user=User.of({"identity": identity})))
