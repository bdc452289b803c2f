"""A decider that narrows a search by its value, not by a filter, narrows the search for runs too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from api.requests import System
from api.user_api import HEADER, SimulatedAuthenticator
from millstream.api.app import create_app
from millstream.api.auth.authentication import Authentication
from millstream.shared.access import Ask, Decision, User
from millstream.shared.redis import Client
from millstream.shared.settings import Settings


class Narrowing:
    """Writes the owner into what is created and searched; returns no filter."""

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        if ask in ("threads.create", "threads.search"):
            value["metadata"] = {**(value.get("metadata") or {}), "owner": user.identity}
        return Decision(value)


@asynccontextmanager
async def narrowing(_: Settings, __: Client) -> AsyncIterator[Authentication]:
    yield Authentication(authenticators=[SimulatedAuthenticator()], authorizer=Narrowing())


async def test_runs_of_other_users_are_no_matches(system: System) -> None:
    api = create_app(Settings(redis_url=system.fleet.redis_url), open_auth=narrowing)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(api), base_url="http://test", timeout=30
        ) as client,
    ):
        ann, bob = {HEADER: "narrow-ann"}, {HEADER: "narrow-bob"}
        thread = (await client.post("/threads", headers=ann, json={})).json()["thread_id"]
        body = {"assistant_id": "steps", "after_seconds": 3600, "input": {}}
        run = (await client.post(f"/threads/{thread}/runs", headers=ann, json=body)).json()

        async def matches(headers: dict[str, str]) -> list[str]:
            response = await client.post(
                "/runs/search", headers=headers, json={"status": "pending"}
            )
            assert response.status_code == 200
            return [each["run_id"] for each in response.json()]

        assert await matches(ann) == [run["run_id"]]
        assert await matches(bob) == []
        assert (await client.delete(f"/threads/{thread}", headers=ann)).status_code < 300
