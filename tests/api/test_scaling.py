"""`GET /ops/scaling`, as an autoscaler reads it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from api.requests import System, detail
from contract.builders import a_spec, admit, end, end_pending, take
from harness.waiting import until
from harness.workers import report_worker
from millstream.shared import keys
from millstream.shared.redis import Client, connect

QUEUE = "scaled"
NOTHING = {
    "in_flight": 0,
    "due": 0,
    "running": 0,
    "oldest_due_age_seconds": 0.0,
    "unserved": 0,
    "workers": 0,
    "paused": False,
}


@pytest.fixture
async def redis(system: System) -> AsyncIterator[Client]:
    """The running system's Redis, with a queue that a worker of this test serves."""
    client = connect(system.fleet.redis_url)
    await report_worker(client, "w1", QUEUE, ttl=60)
    try:
        yield client
    finally:
        await client.srem(keys.queues(), QUEUE)  # type: ignore[misc]
        per_queue = (keys.queue, keys.wake, keys.backlog, keys.queue_workers)
        await client.delete(*(key(QUEUE) for key in per_queue))
        await client.aclose()


async def becomes(http: httpx.AsyncClient, **expected: float) -> dict[str, float]:
    """Waits for these values; the answer may be 2 s old."""
    answer: dict[str, float] = {}

    async def equal() -> bool:
        answer.update((await http.get("/ops/scaling", params={"queue": QUEUE})).json())
        return expected.items() <= answer.items()

    await until(equal, within=10, what=f"{expected} in {answer}")
    return answer


async def test_a_queue_without_any_worker_so_far_has_zeros(http: httpx.AsyncClient) -> None:
    response = await http.get("/ops/scaling", params={"queue": "not-yet"})
    assert response.status_code == 200
    assert response.json() == NOTHING
    assert response.headers["cache-control"] == "no-store"


async def test_the_numbers_follow_the_queue(http: httpx.AsyncClient, redis: Client) -> None:
    assert await becomes(http, workers=1) == {**NOTHING, "workers": 1}
    first, second = [await admit(redis, a_spec(queue=QUEUE)) for _ in range(2)]
    answer = await becomes(http, in_flight=2, due=2)
    assert 0 <= answer["oldest_due_age_seconds"] < 10
    claim = await take(redis, first)
    await becomes(http, in_flight=2, due=1, running=1)
    await end(redis, claim)
    await end_pending(redis, second)
    await becomes(http, **{**NOTHING, "workers": 1})


async def test_without_a_queue_it_is_the_sum_of_all(http: httpx.AsyncClient, redis: Client) -> None:
    await becomes(http, workers=1)
    answer = (await http.get("/ops/scaling")).json()
    queues = answer.pop("queues")
    assert queues.keys() >= {"default", QUEUE}
    assert queues["default"]["workers"] >= 1
    for name, value in answer.items():
        values = [each[name] for each in queues.values()]
        assert value == (max(values) if name == "oldest_due_age_seconds" else sum(values))


async def test_several_queues_are_summed(http: httpx.AsyncClient, redis: Client) -> None:
    await becomes(http, workers=1)
    run = await admit(redis, a_spec(queue=QUEUE))
    await becomes(http, in_flight=1)
    alone = (await http.get("/ops/scaling", params={"queue": QUEUE})).json()
    for names in (f"{QUEUE},not-yet", f"not-yet,{QUEUE},{QUEUE}"):
        answer = (await http.get("/ops/scaling", params={"queue": names})).json()
        assert "queues" not in answer
        assert answer | {"oldest_due_age_seconds": 0} == alone | {"oldest_due_age_seconds": 0}
    default = (await http.get("/ops/scaling", params={"queue": "default"})).json()
    both = (await http.get("/ops/scaling", params={"queue": f"default,{QUEUE}"})).json()
    for name in ("in_flight", "due", "running", "workers"):
        assert both[name] == alone[name] + default[name]
    await end_pending(redis, run)


@pytest.mark.parametrize("name", ["", ",", "default,a b", "a b", "x" * 201, "a/b"])
async def test_an_invalid_name_is_refused(http: httpx.AsyncClient, name: str) -> None:
    response = await http.get("/ops/scaling", params={"queue": name})
    assert response.status_code == 422
    assert "queue" in detail(response)
