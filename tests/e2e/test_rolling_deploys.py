"""Workers and APIs that differ in the graphs that they serve, or in their version."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.conftest import BEHAVIOUR, Cluster, NodeLog, Thread, request
from e2e.raw_http import RawResponse, call_api
from harness.processes import Process
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import Client

pytestmark = pytest.mark.xdist_group("worker_cluster")

EXAMPLES = Path(__file__).parents[2] / "examples" / "graphs.py"

Start = Callable[..., Process]


@pytest.fixture
def start(worker_cluster: Cluster, tmp_path: Path) -> Iterator[Start]:
    """Starts workers that serve some graphs of behaviour.py under other names."""
    started: list[Process] = []

    def worker(graphs: dict[str, str], *, newer: bool = False) -> Process:
        config = tmp_path / f"{len(started)}.json"
        source = BEHAVIOUR.with_name("behaviour.py")
        config.write_text(
            json.dumps(
                {
                    "graphs": {
                        name: graph if ":" in graph else f"{source}:{graph}"
                        for name, graph in graphs.items()
                    }
                }
            )
        )
        env = {"LEASE_SECS": "1", "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0"}
        kind = worker_cluster.fleet.newer_worker if newer else worker_cluster.fleet.worker
        started.append(kind(config, **env))
        return started[-1].wait_ready()

    yield worker
    for process in started:
        if process.process.poll() is None:
            process.stop()


async def attempts(thread: Thread, run_id: str) -> list[int]:
    """Returns the attempts in the stream of an ended run."""
    events = await thread.replay(run_id)
    return [event.data["attempt"] for event in events if event.name == "metadata"]


async def left_to_others(redis: Client, thread: Thread, run_id: str) -> bool:
    """Returns whether a worker has returned the run to the queue."""
    return bool(await redis.hexists(keys.run(thread.id, run_id), "unserved_since"))  # type: ignore[misc]


async def test_a_run_waits_for_a_worker_that_serves_its_graph(
    worker_cluster: Cluster, start: Start, log: NodeLog
) -> None:
    [other] = worker_cluster.ready_workers(1, limit=1)
    new_worker = start({"added": "track"})
    threads = await asyncio.gather(*(Thread.create(worker_cluster.url) for _ in range(30)))
    knobs = {"log": str(log), "n": 2, "delay": 0.01}
    runs = await asyncio.gather(*(t.start("added", configurable=knobs) for t in threads))
    beside = await Thread.create(worker_cluster.url)
    known = await beside.start("track", configurable={"log": str(log)})
    for thread, run in zip(threads, runs, strict=True):
        assert await thread.ended(run, within=30) == "success"
        assert await attempts(thread, run) == [1]
        assert await thread.status() == "idle"
    assert {note["pid"] for run in runs for note in log.notes(run=run)} == {new_worker.pid}
    assert len(log.notes("end")) >= 60
    assert await beside.ended(known) == "success"
    assert {note["pid"] for note in log.notes(run=known)} == {other.pid}


async def test_an_older_worker_does_not_claim_newer_runs(
    worker_cluster: Cluster, worker_redis: Client, start: Start, log: NodeLog
) -> None:
    worker_cluster.ready_workers(1, limit=1)
    api = worker_cluster.fleet.newer_api().wait_ready()
    try:
        thread = await Thread.create(api.url)
        async with await thread.stream("track", configurable={"log": str(log)}) as response:
            _, run_id = response.ids
            record = keys.run(thread.id, run_id)
            ours = await worker_redis.hgetall(record)  # type: ignore[misc]
            ours.pop(b"unserved_since", None)

            async def looked_at() -> bool:
                return await left_to_others(worker_redis, thread, run_id)

            await until(looked_at, within=20)
            await response.until_heartbeat()
            left = await worker_redis.hgetall(record)  # type: ignore[misc]
            assert int(left.pop(b"unserved_since")) > 0
            assert left.pop(b"journal").count(b"unserved") == 1
            ours.pop(b"journal", None)
            assert left == ours
            assert (await thread.run(run_id))["status"] == "pending"
            assert not log.notes()
            # The older API returns the record unchanged.
            status, view = await call_api(worker_cluster.url, "GET", f"{thread.runs_path}/{run_id}")
            assert (status, view["status"]) == (200, "pending")
            # Runs that the older worker can execute do not wait behind it.
            status, _ = await call_api(worker_cluster.url, "POST", "/runs/wait", request("track"))
            assert status == 200

            newer = start({"track": "track"}, newer=True)
            events = await response.events()
        assert [event.data["attempt"] for event in events if event.name == "metadata"] == [1]
        assert events[-1].data == {"status": "success"}
        assert {note["pid"] for note in log.notes()} == {newer.pid}
        assert await thread.status() == "idle"
    finally:
        api.stop()


async def test_a_newer_worker_executes_the_runs_of_an_older_api(
    worker_cluster: Cluster, start: Start, log: NodeLog
) -> None:
    worker_cluster.ready_workers(0, limit=0)
    newer = start({"track": "track", "linger": "linger"}, newer=True)
    thread = await Thread.create(worker_cluster.url)
    run_id = await thread.start("track", configurable={"log": str(log)})
    assert await thread.ended(run_id) == "success"
    assert {note["pid"] for note in log.notes()} == {newer.pid}
    assert await attempts(thread, run_id) == [1]
    status, state = await call_api(worker_cluster.url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"]) == (200, {"items": [0, 1, 2]})
    # A run moves from the newer worker to an older one, and is cancelled there.
    lingering = await thread.start("linger", configurable={"log": str(log)})
    await log.noted("begin", 4)
    [older] = worker_cluster.ready_workers(1)
    assert newer.stop() == 0
    await log.noted("begin", 5)
    assert log.notes("begin")[-1]["pid"] == older.pid
    assert (await call_api(worker_cluster.url, "POST", f"{thread.runs_path}/{lingering}/cancel"))[
        0
    ] == 202
    assert await thread.ended(lingering) == "interrupted"
    assert await attempts(thread, lingering) == [1, 1]


async def test_a_run_without_a_serving_worker_can_be_cancelled(
    worker_cluster: Cluster, worker_redis: Client, start: Start, log: NodeLog
) -> None:
    worker_cluster.ready_workers(1, limit=1)
    new_worker = start({"removed": "linger"})
    begun, waits = await Thread.create(worker_cluster.url), await Thread.create(worker_cluster.url)
    first = await begun.start("removed", configurable={"log": str(log)})
    await log.noted("begin")
    assert new_worker.stop() == 0  # the run that it had begun is handed back
    second = await waits.start("removed", configurable={"log": str(log)})

    async def left() -> bool:
        runs = ((begun, first), (waits, second))
        return all([await left_to_others(worker_redis, thread, run) for thread, run in runs])

    await until(left, within=20)
    for thread, run, action in ((begun, first, "rollback"), (waits, second, "interrupt")):
        assert (await thread.run(run))["status"] == "pending"
        path = f"{thread.runs_path}/{run}/cancel?wait=1&action={action}"
        assert await call_api(worker_cluster.url, "POST", path) == (200, {})
    # The started run was rolled back by a worker that does not know the graph.
    assert (await call_api(worker_cluster.url, "GET", f"{begun.runs_path}/{first}"))[0] == 404
    assert await begun.status() == "idle"
    assert await waits.ended(second) == "interrupted"
    assert len(log.notes("begin")) == 1
    for thread in (begun, waits):
        assert await thread.ended(await thread.start("track")) == "success"
    # A run that is neither cancelled nor served is deleted with its thread.
    third = await waits.start("removed")
    assert (await waits.run(third))["status"] == "pending"
    assert (await call_api(worker_cluster.url, "DELETE", f"/threads/{waits.id}"))[0] == 204


async def test_an_api_learns_the_schema_of_a_newer_deployment(
    worker_cluster: Cluster, start: Start
) -> None:
    async def takes_messages() -> bool:
        status, agent = await call_api(worker_cluster.url, "GET", "/agents/evolving")
        return status == 200 and agent["capabilities"]["ap.io.messages"]

    async def is_called(**arguments: object) -> bool:
        call = {"name": "evolving", "arguments": arguments}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        headers = {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
        }
        async with await RawResponse.open(
            worker_cluster.url, "POST", "/mcp/", body, headers
        ) as response:
            response_body = await response.rest()
        assert b"result" in response_body or b"-32602" in response_body, response_body
        return b"result" in response_body

    older = start({"evolving": "track"})
    await until(lambda: is_called(items=[]))
    assert not await is_called(items="no list")
    assert not await takes_messages()
    older.stop()
    assert not await takes_messages()  # what is known holds while nobody can say
    start({"evolving": f"{EXAMPLES}:chat"})
    await until(takes_messages)
    assert not await is_called(messages=7)
    assert await is_called(messages=["hello"], items="no list")
