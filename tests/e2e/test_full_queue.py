"""QUEUE_MAX_DEPTH limits the pending and running runs; a further run leaves no trace."""

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

MAX_DEPTH = 2


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """An API without workers, so that runs stay pending."""
    with (
        EmbeddedRedis(tmp_path_factory.mktemp("full"), appendonly=False) as redis,
        Fleet(redis.url, QUEUE_MAX_DEPTH=str(MAX_DEPTH), KEEPALIVE_INTERVAL_SECS="0.1") as fleet,
    ):
        fleet.api().wait_ready()
        yield fleet


@pytest.fixture
async def redis(fleet: Fleet) -> AsyncIterator[Client]:
    """Its Redis, which holds only the announcement of a graph."""
    client = connect(fleet.redis_url)
    await client.flushdb()
    await announce(client, [GraphInfo(graph_id="track", queue="default")])
    yield client
    await client.aclose()


@pytest.fixture
def url(fleet: Fleet, redis: Client) -> str:
    return fleet.processes[0].url


async def everything(redis: Client) -> dict[str, Any]:
    """Returns all keys with their values."""
    return {name: await redis.dump(name) for name in sorted(await redis.keys())}


async def refused(url: str, path: str, **fields: Any) -> None:
    async with await RawResponse.open(url, "POST", path, request("track", **fields)) as response:
        body = await response.rest()
        assert response.status == 429, (path, body)
        assert int(response.headers["retry-after"]) > 0
        assert b"QUEUE_MAX_DEPTH" in body
        assert b"%d runs" % MAX_DEPTH in body


@pytest.mark.parametrize("how", ["", "/stream", "/wait"])
@pytest.mark.parametrize("where", ["a thread with runs", "an idle thread", "no thread"])
async def test_a_run_beyond_the_limit_is_rejected_without_a_trace(
    url: str, redis: Client, where: str, how: str
) -> None:
    thread, idle = await Thread.create(url), await Thread.create(url)
    runs = [await thread.start("track"), await thread.start("track")]
    path = {"a thread with runs": thread.runs_path, "an idle thread": idle.runs_path}.get(
        where, "/runs"
    )
    before = await everything(redis)
    await refused(url, path + how)
    for strategy in ("interrupt", "rollback"):  # nobody is cancelled for a run that is refused
        await refused(url, path + how, multitask_strategy=strategy)
    await refused(url, path + how, after_seconds=60)
    assert await everything(redis) == before

    # An ended run makes room for one run.
    assert (await call_api(url, "POST", f"{thread.runs_path}/{runs[0]}/cancel"))[0] == 202
    assert await thread.ended(runs[0]) == "interrupted"
    if how:
        async with await RawResponse.open(url, "POST", path + how, request("track")) as response:
            assert response.status == 200
            await refused(url, idle.runs_path)
    else:
        assert (await call_api(url, "POST", path, request("track")))[0] == 200
    assert await redis.scard(keys.live()) <= MAX_DEPTH  # type: ignore[misc]


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
    # A deleted deferred run makes room too.
    assert (await call_api(url, "DELETE", f"{thread.runs_path}/{first}"))[0] == 204
    body = request("track", if_not_exists="create")
    assert (await call_api(url, "POST", path, body))[0] == 200
    assert (await call_api(url, "GET", f"/threads/{missing}"))[0] == 200
    await refused(url, path)


async def test_deleting_a_thread_frees_the_places_of_its_runs(url: str, redis: Client) -> None:
    thread, other = await Thread.create(url), await Thread.create(url)
    for _ in range(MAX_DEPTH):
        await thread.start("track")
    await refused(url, other.runs_path)
    assert (await call_api(url, "DELETE", f"/threads/{thread.id}"))[0] == 204
    for _ in range(MAX_DEPTH):
        await other.start("track")
    await refused(url, other.runs_path)


async def test_a_batch_beyond_the_limit_admits_no_run(url: str, redis: Client) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        response = await http.post(
            "/runs/batch", json=[{"assistant_id": "track"}] * (MAX_DEPTH + 1)
        )
        assert response.status_code == 429, response.text
        assert int(response.headers["retry-after"]) > 0
        assert await redis.scard(keys.live()) == 0  # type: ignore[misc]
        assert await redis.zcard(keys.queue("default")) == 0
        assert await redis.keys("*:thread") == []
        response = await http.post("/runs/batch", json=[{"assistant_id": "track"}] * MAX_DEPTH)
        assert response.status_code == 200, response.text
