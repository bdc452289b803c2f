"""A client that joins a run counts as reconnected; a client whose join an outage rejects does not."""

from collections.abc import AsyncIterator

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from api.requests import STEPS, System
from millstream.api.app import create_app
from millstream.shared import keys
from millstream.shared.events.reader import Reader
from millstream.shared.redis import connect
from millstream.shared.redis.subscriber import Subscriber
from millstream.shared.settings import Settings


@pytest.fixture
async def inside(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API in the process of the test."""
    app = create_app(Settings(redis_url=system.fleet.redis_url))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside") as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["stream", "join"])
@pytest.mark.parametrize("broken", [(Subscriber, "listen"), (Reader, "begin")])
async def test_a_join_rejected_by_an_outage_is_not_counted(
    inside: httpx.AsyncClient,
    system: System,
    thread: str,
    path: str,
    broken: tuple[type, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = (await inside.post(f"/threads/{thread}/runs", json=STEPS)).json()["run_id"]
    await inside.get(f"/threads/{thread}/runs/{run}/join")
    redis = connect(system.fleet.redis_url)

    async def joined() -> int:
        return int(await redis.hget(keys.run(thread, run), "joined") or 0)  # type: ignore[misc]

    async def away(*_: object) -> None:
        raise RedisConnectionError("away")

    before = await joined()
    with monkeypatch.context() as patched:
        patched.setattr(*broken, away)
        refused = await inside.get(f"/threads/{thread}/runs/{run}/{path}")
    assert refused.status_code == 503
    assert await joined() == before
    assert (await inside.get(f"/threads/{thread}/runs/{run}/{path}")).status_code == 200
    assert await joined() == before + 1
    await redis.aclose()
