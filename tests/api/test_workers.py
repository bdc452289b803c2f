"""`GET /ops/workers`: what the workers report, and whether each is live, draining or lost."""

from collections.abc import AsyncIterator

import httpx
import pytest

from api.requests import System
from harness.waiting import until
from harness.workers import report_worker
from millstream.shared import keys
from millstream.shared.redis import Client, connect
from millstream.shared.wire import PROTOCOL, SlotRecord

QUEUE = "listed"


@pytest.fixture
async def redis(system: System) -> AsyncIterator[Client]:
    """The running system's Redis."""
    client = connect(system.fleet.redis_url)
    try:
        yield client
    finally:
        await client.srem(keys.queues(), QUEUE)  # type: ignore[misc]
        await client.delete(keys.queue_workers(QUEUE))
        await client.aclose()


async def test_a_process_reports_what_it_is(http: httpx.AsyncClient) -> None:
    response = await http.get("/ops/workers", params={"queue": "default"})
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    worker = next(each for each in response.json() if each["state"] == "live")
    assert worker["worker_id"].startswith(f"{worker['host']}-{worker['pid']}-")
    assert "steps" in worker["graphs"]
    assert (worker["queues"], worker["slots"], worker["protocol"]) == (["default"], 20, PROTOCOL)
    assert worker["version"]
    assert worker["python"].startswith("3.")
    assert worker["langgraph"].startswith("1.")
    assert worker["started_at"] <= worker["reported_at"]
    assert worker["draining_since"] is None


async def test_states_are_those_of_the_latest_reports(
    http: httpx.AsyncClient, redis: Client
) -> None:
    run = SlotRecord(
        thread_id="t", run_id="r", graph_id="g", attempt=2, since=1_000_000, isolation="process"
    )
    await report_worker(redis, "w1", QUEUE, runs=[run])
    await report_worker(redis, "w2", QUEUE, draining_since=2_000_000)
    await report_worker(redis, "w3", QUEUE, ttl=-1)
    await redis.zadd(keys.queue_workers(QUEUE), {"older": 4e9})  # of a version without records

    async def read() -> dict[str, dict[str, object]]:
        response = await http.get("/ops/workers", params={"queue": QUEUE})
        return {each["worker_id"]: each for each in response.json()}

    async def complete() -> bool:
        return len(await read()) == 4

    await until(complete, within=10)
    workers = await read()
    assert {name: each["state"] for name, each in workers.items()} == {
        "older": "live", "w1": "live", "w2": "draining", "w3": "lost",
    }  # fmt: skip
    since = "1970-01-01T00:00:01.000000+00:00"
    assert workers["w1"]["runs"] == [
        {"thread_id": "t", "run_id": "r", "graph_id": "g", "attempt": 2, "since": since, "isolation": "process"}
    ]  # fmt: skip
    assert workers["w2"]["draining_since"] == "1970-01-01T00:00:02.000000+00:00"
    assert (workers["older"]["version"], workers["older"]["slots"]) == ("", 0)
