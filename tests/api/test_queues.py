"""`/ops/queues`: queues, and how they are paused and resumed; and routes of assistants to queues."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.requests import System, detail
from contract.builders import a_spec, admit, end_pending
from harness.workers import report_worker
from millstream.shared import keys
from millstream.shared.redis import Client, connect

QUEUE = "gpu"


@pytest.fixture
async def redis(system: System) -> AsyncIterator[Client]:
    """The running system's Redis, with a queue that no worker but one of this test serves."""
    client = connect(system.fleet.redis_url)
    await report_worker(client, "w1", QUEUE, ttl=60)
    try:
        yield client
    finally:
        await client.srem(keys.queues(), QUEUE)  # type: ignore[misc]
        per_queue = (keys.queue, keys.wake, keys.backlog, keys.queue_workers, keys.paused)
        await client.delete(*(key(QUEUE) for key in per_queue))
        await client.aclose()


async def state(http: httpx.AsyncClient, name: str = QUEUE) -> dict[str, Any]:
    response = await http.get("/ops/queues")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    queues = {queue["name"]: queue for queue in response.json()}
    assert list(queues) == sorted(queues)
    return dict(queues[name])


async def test_a_queue_has_its_runs_workers_and_graphs(
    http: httpx.AsyncClient, redis: Client
) -> None:
    # A pause makes the process read the figures again.
    await http.post(f"/ops/queues/{QUEUE}/resume")
    queue = await state(http)
    assert queue.pop("oldest_due_age_seconds") == 0
    assert queue == {
        "name": QUEUE, "paused": None, "due": 0, "deferred": 0, "running": 0, "unserved": 0,
        "oldest_unserved_age_seconds": 0.0, "workers": 1, "draining_workers": 0, "lost_workers": 0, "graphs": [],
    }  # fmt: skip
    assert "chat" in (await state(http, "default"))["graphs"]


async def test_a_queue_is_paused_and_resumed(http: httpx.AsyncClient, redis: Client) -> None:
    waiting = await admit(redis, a_spec(queue=QUEUE))
    first = await http.post(f"/ops/queues/{QUEUE}/pause", json={"by": "ann", "reason": "a deploy"})
    assert first.status_code == 200
    paused = first.json()["paused"]
    assert (paused["by"], paused["reason"]) == ("ann", "a deploy")
    again = await http.post(f"/ops/queues/{QUEUE}/pause")
    assert again.json() == first.json() == {"name": QUEUE, "paused": paused}
    queue = await state(http)
    assert (queue["paused"], queue["due"]) == (paused, 1)
    scaling = (await http.get("/ops/scaling", params={"queue": QUEUE})).json()
    assert scaling["paused"] is True
    assert (scaling["in_flight"], scaling["due"], scaling["oldest_due_age_seconds"]) == (0, 1, 0)
    total = (await http.get("/ops/scaling")).json()
    assert (total["paused"], total["queues"]["default"]["paused"]) == (False, False)
    for _ in range(2):
        response = await http.post(f"/ops/queues/{QUEUE}/resume")
        assert (response.status_code, response.json()) == (200, {"name": QUEUE, "paused": None})
    scaling = (await http.get("/ops/scaling", params={"queue": QUEUE})).json()
    assert (scaling["paused"], scaling["in_flight"]) == (False, 1)
    await end_pending(redis, waiting)


@pytest.mark.parametrize("verb", ["pause", "resume"])
@pytest.mark.parametrize("name", ["gpuu", "A", "a:wake", "%00", "x" * 300, "a b"])
async def test_an_unknown_queue_is_404(http: httpx.AsyncClient, verb: str, name: str) -> None:
    response = await http.post(f"/ops/queues/{name}/{verb}")
    assert response.status_code == 404
    assert "unknown" in detail(response)


@pytest.mark.parametrize(
    ("field", "value"), [("by", "x" * 201), ("by", 7), ("reason", "x" * 1001), ("reason", ["a"])]
)
async def test_an_invalid_pause_names_the_field(
    http: httpx.AsyncClient, redis: Client, field: str, value: object
) -> None:
    response = await http.post(f"/ops/queues/{QUEUE}/pause", json={field: value})
    assert response.status_code == 422
    assert detail(response).startswith(field)
    assert (await state(http))["paused"] is None


# ── Assistants ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["", "GPU", "a b", "a:wake", "x" * 64, 7, ["gpu"], {"a": 1}])
async def test_an_invalid_queue_of_an_assistant_names_the_field(
    http: httpx.AsyncClient, name: object
) -> None:
    body = {"graph_id": "chat", "metadata": {"millstream_queue": name}}
    response = await http.post("/assistants", json=body)
    assert response.status_code == 422
    assert detail(response).startswith("metadata: ")
    assert "millstream_queue" in detail(response)
    created = (await http.post("/assistants", json={"graph_id": "chat"})).json()
    path = f"/assistants/{created['assistant_id']}"
    response = await http.patch(path, json={"metadata": {"millstream_queue": name}})
    assert response.status_code == 422
    assert "millstream_queue" in detail(response)
    assert (await http.get(path)).json()["metadata"] == created["metadata"]
    await http.delete(path)


async def test_runs_of_an_assistant_wait_in_its_queue(
    http: httpx.AsyncClient, redis: Client
) -> None:
    """Also those that batches and crons admit. No worker of the system serves the queue."""
    body = {"graph_id": "chat", "metadata": {"millstream_queue": QUEUE, "team": "a"}}
    assistant = (await http.post("/assistants", json=body)).json()["assistant_id"]
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    request = {"assistant_id": assistant, "input": {"messages": ["hi"]}}
    run = (await http.post(f"/threads/{thread}/runs", json=request)).json()
    assert run["metadata"]["team"] == "a"
    batch = (await http.post("/runs/batch", json=[request, request])).json()
    assert {each["status"] for each in (run, *batch)} == {"pending"}
    queued = await redis.zrange(keys.queue(QUEUE), 0, -1)
    assert {member.decode().split("/")[1] for member in queued} == {
        each["run_id"] for each in (run, *batch)
    }
    # It stays where it was admitted; the next one follows the change.
    path = f"/assistants/{assistant}"
    await http.patch(path, json={"metadata": {"millstream_queue": None}})
    elsewhere = await http.post("/runs/wait", json=request)
    assert elsewhere.status_code == 200
    assert (await http.get(f"/threads/{thread}/runs/{run['run_id']}")).json()["status"] == "pending"
    for each in (run, *batch):
        cancel = f"/threads/{each['thread_id']}/runs/{each['run_id']}/cancel"
        assert (await http.post(cancel, params={"wait": "1"})).status_code == 200
    assert await redis.zcard(keys.queue(QUEUE)) == 0
    await http.delete(path)
    await http.delete(f"/threads/{thread}")


async def test_the_metadata_of_a_run_routes_nothing(http: httpx.AsyncClient) -> None:
    request = {
        "assistant_id": "chat",
        "input": {"messages": ["hi"]},
        "metadata": {"millstream_queue": f"none-{uuid.uuid4().hex[:8]}"},
    }
    assert (await http.post("/runs/wait", json=request)).status_code == 200
