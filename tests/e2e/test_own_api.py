"""A graph calls the API of its own deployment, as the user of its run and with the headers of the run's caller."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from redis import Redis

from harness.processes import Fleet
from millstream.shared import keys

HOME = Path(__file__).parents[1] / "graphs" / "own_api.json"
QUEUE = "own_api"
CALLER = {"x-tenant": "acme", "authorization": "Bearer of the caller"}
WAYS = [
    "in_a_coroutine", "early", "in_a_thread", "streamed", "in_a_subgraph", "remote", "in_a_factory", "apart",
]  # fmt: skip


class RunningApi(Protocol):
    """The running system of these tests."""

    fleet: Fleet


@pytest.fixture(scope="module")
def url(system: RunningApi) -> Iterator[str]:
    """An API under a prefix, and a worker that knows its URL."""
    redis_url = system.fleet.redis_url
    with Fleet(redis_url) as fleet:
        api = fleet.api(HOME).wait_ready()
        worker = fleet.worker(HOME, QUEUE, MILLSTREAM_API_URL=f"{api.url}/").wait_ready()
        graphs = worker.ready["graphs"]
        try:
            yield api.url
        finally:
            worker.stop()
            with Redis.from_url(redis_url) as redis:
                redis.hdel(keys.graphs(), *graphs)
                per_queue = (keys.queue, keys.wake, keys.backlog, keys.queue_workers)
                redis.delete(*(key(QUEUE) for key in per_queue))
                redis.srem(keys.queues(), QUEUE)
                queues = map(keys.call_queue, graphs)
                redis.delete(
                    *(key(queue) for queue in queues for key in (keys.calls, keys.workers))
                )


@pytest.fixture
async def web(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


async def call_api(web: httpx.AsyncClient, graph: str, headers: dict[str, str] = CALLER) -> Any:
    body = {"assistant_id": graph, "input": {}}
    answer = await web.post("/runs/wait", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("graph", WAYS)
async def test_a_graph_calls_its_own_api_from_any_code(web: httpx.AsyncClient, graph: str) -> None:
    assert web.base_url.path.startswith("/base")
    assert await call_api(web, graph) == {"v": CALLER, "user": "acme"}
    other = {"x-tenant": "other"}
    assert await call_api(web, graph, other) == {
        "v": {"x-tenant": "other", "authorization": None},
        "user": "other",
    }


async def test_a_factory_that_is_called_for_a_read_acts_as_the_reader(
    web: httpx.AsyncClient,
) -> None:
    for graph in ("in_a_factory", "apart"):
        path = f"/assistants/{graph}/schemas"
        schemas = await web.get(path, headers={"x-tenant": "reader"})
        assert schemas.status_code == 200, schemas.text
        assert schemas.json()["graph_id"] == graph
    assert (await web.get(path)).status_code == 401


async def test_a_tool_calls_its_own_api(web: httpx.AsyncClient) -> None:
    assert (await call_api(web, "in_a_tool"))["messages"][-1]["content"] == "acme"


async def test_explicit_headers_win_over_the_callers(web: httpx.AsyncClient) -> None:
    """But they are not the user: the API believes the token of the run, not the header."""
    said = await call_api(web, "explicit")
    assert said == {"v": {**CALLER, "x-tenant": "its own"}, "user": "acme"}


async def test_request_specific_headers_are_not_forwarded(web: httpx.AsyncClient) -> None:
    odd = {"expect": "nothing", "x-forwarded-host": "elsewhere", "last-event-id": "3", **CALLER}
    assert (await call_api(web, "in_a_thread", odd))["v"] == CALLER
    assert (await call_api(web, "streamed", odd))["v"] == CALLER
