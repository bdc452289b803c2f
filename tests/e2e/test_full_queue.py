"""QUEUE_MAX_DEPTH: as many runs as that may wait or run, and a further one leaves no trace."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from e2e.conftest import Thread, request
from e2e.raw_http import RawResponse, call_api
from harness.processes import Fleet
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.assistants import announce
from millstream.shared.redis import Client, connect
from millstream.shared.wire import GraphInfo

MOST = 2


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """An API without any worker, so that runs stay where they are."""
    with (
        EmbeddedRedis(tmp_path_factory.mktemp("full"), appendonly=False) as redis,
        Fleet(redis.url, QUEUE_MAX_DEPTH=str(MOST), KEEPALIVE_INTERVAL_SECS="0.1") as fleet,
    ):
        fleet.api().wait_ready()
        yield fleet


@pytest.fixture
async def redis(fleet: Fleet) -> AsyncIterator[Client]:
    """Its Redis, which holds nothing but that a worker announced a graph."""
    client = connect(fleet.redis_url)
    await client.flushdb()
    await announce(client, [GraphInfo(graph_id="track", queue="default")])
    yield client
    await client.aclose()


@pytest.fixture
def url(fleet: Fleet, redis: Client) -> str:
    return fleet.processes[0].url


async def everything(redis: Client) -> dict[str, Any]:
    """Returns all that Redis holds."""
    return {name: await redis.dump(name) for name in sorted(await redis.keys())}


async def refused(url: str, path: str, **given: Any) -> None:
    async with await RawResponse.open(url, "POST", path, request("track", **given)) as response:
        told = await response.rest()
        assert response.status == 429, (path, told)
        assert int(response.headers["retry-after"]) > 0
        assert b"QUEUE_MAX_DEPTH" in told
        assert b"%d runs" % MOST in told


@pytest.mark.parametrize("how", ["", "/stream", "/wait"])
@pytest.mark.parametrize("where", ["a thread with runs", "an idle thread", "no thread"])
async def test_a_run_beyond_the_limit_is_rejected_and_leaves_no_trace(
    url: str, redis: Client, where: str, how: str
) -> None:
    thread, idle = await Thread.create(url), await Thread.create(url)
    runs = [await thread.start("track"), await thread.start("track")]
    path = {"a thread with runs": thread.place, "an idle thread": idle.place}.get(where, "/runs")
    before = await everything(redis)
    await refused(url, path + how)
    for strategy in ("interrupt", "rollback"):  # nobody is cancelled for a run that is refused
        await refused(url, path + how, multitask_strategy=strategy)
    await refused(url, path + how, after_seconds=60)
    assert await everything(redis) == before

    # A run that has ended makes room, for one.
    assert (await call_api(url, "POST", f"{thread.place}/{runs[0]}/cancel"))[0] == 202
    assert await thread.ended(runs[0]) == "interrupted"
    if how:
        async with await RawResponse.open(url, "POST", path + how, request("track")) as response:
            assert response.status == 200
            await refused(url, idle.place)
    else:
        assert (await call_api(url, "POST", path, request("track")))[0] == 200
    assert await redis.scard(keys.live()) <= MOST  # type: ignore[misc]


async def test_a_rejected_run_creates_no_thread(url: str, redis: Client) -> None:
    thread = await Thread.create(url)
    first = await thread.start("track", after_seconds=60)
    await thread.start("track")
    missing = "0d3d9a0e-9f1e-4a6c-8d8f-3a4c7f4f2a11"
    path = f"/threads/{missing}/runs"
    before = await everything(redis)
    for how in ("", "/stream", "/wait"):
        await refused(url, path + how, if_not_exists="create")
    assert (await call_api(url, "GET", f"/threads/{missing}"))[0] == 404
    assert await everything(redis) == before
    # A run that was deferred makes room too, once it is deleted.
    assert (await call_api(url, "DELETE", f"{thread.place}/{first}"))[0] == 204
    body = request("track", if_not_exists="create")
    assert (await call_api(url, "POST", path, body))[0] == 200
    assert (await call_api(url, "GET", f"/threads/{missing}"))[0] == 200
    await refused(url, path)


async def test_deleting_a_thread_frees_the_places_of_its_runs(url: str, redis: Client) -> None:
    thread, other = await Thread.create(url), await Thread.create(url)
    for _ in range(MOST):
        await thread.start("track")
    await refused(url, other.place)
    assert (await call_api(url, "DELETE", f"/threads/{thread.id}"))[0] == 204
    for _ in range(MOST):
        await other.start("track")
    await refused(url, other.place)


async def test_a_batch_beyond_the_limit_leaves_no_run(url: str, redis: Client) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        response = await http.post("/runs/batch", json=[{"assistant_id": "track"}] * (MOST + 1))
        assert response.status_code == 429, response.text
        assert int(response.headers["retry-after"]) > 0
        assert await redis.scard(keys.live()) == 0  # type: ignore[misc]
        assert await redis.zcard(keys.queue("default")) == 0
        assert await redis.keys("*:thread") == []
        response = await http.post("/runs/batch", json=[{"assistant_id": "track"}] * MOST)
        assert response.status_code == 200, response.text
