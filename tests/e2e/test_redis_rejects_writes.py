"""Redis is reachable but rejects writes: it has no memory left, or has become a replica."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from e2e.conftest import Cluster, NodeLog, Thread, request
from e2e.raw_http import Event, RawResponse, call_api
from harness.a2a_client import message_request
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import Client

pytestmark = pytest.mark.xdist_group("fault_cluster")

STEPS = 8


@pytest.fixture
async def redis(fault_cluster: Cluster, fault_redis: Client) -> AsyncIterator[Client]:
    """The Redis of `fault_cluster`. It accepts writes again after the test."""
    fault_cluster.ready_workers(1)
    yield fault_redis
    await fault_redis.replicaof("NO", "ONE")
    await fault_redis.config_set("maxmemory", 0)


async def fill(redis: Client) -> None:
    """Fills the memory; the server's policy is noeviction."""
    await redis.config_set("maxmemory", 1)


async def names(redis: Client) -> set[str]:
    """Returns the keys, except for short-lived ones that belong to no run."""
    remaining = {name.decode() async for name in redis.scan_iter(count=5000)}
    return {n for n in remaining if n != keys.leader_lock("reaper") and n != keys.health("default")}


async def refused(url: str, path: str, body: dict[str, Any]) -> None:
    async with await RawResponse.open(url, "POST", path, body) as response:
        response_body = await response.rest()
        assert response.status == 503, (path, response_body)
        assert int(response.headers["retry-after"]) > 0
        assert b"takes no writes" in response_body


async def refused_by_call(url: str, path: str, method: str, params: Any) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
    }
    async with await RawResponse.open(url, "POST", path, body, headers) as response:
        response_body = await response.rest()
        assert b"-32603" in response_body
        # Redis closed connections with blocking commands when it became a replica.
        assert b"`GET /ok` says why" in response_body or b"Redis is not reachable" in response_body


async def nothing_new_begins(cluster: Cluster, redis: Client, thread: Thread) -> None:
    """Fails unless every request that starts something is rejected without a trace."""
    before = await names(redis)
    live = await redis.smembers(keys.live())  # type: ignore[misc]
    url = cluster.url
    for path in (thread.runs_path, "/runs"):
        for how in ("", "/stream", "/wait"):
            await refused(url, path + how, request("track"))
    await refused(url, "/threads", {})
    fresh = "/threads/6c9ff0b5-27d5-4c7e-8a3c-9a3c3f6d0f01/runs"
    await refused(url, fresh, request("track", if_not_exists="create"))
    message = MessageToDict(message_request("hello"))
    for path, method, params in (
        ("/mcp/", "tools/call", {"name": "track", "arguments": {}}),
        ("/a2a/chat", "SendMessage", message),
        ("/a2a/chat", "SendStreamingMessage", message),
    ):
        await refused_by_call(url, path, method, params)
    assert await names(redis) <= before
    assert await redis.smembers(keys.live()) == live  # type: ignore[misc]
    assert (await call_api(url, "GET", thread.runs_path))[1] == []


def tracked(log: NodeLog) -> dict[str, Any]:
    """A run of some seconds, with durability `sync`."""
    return {
        "configurable": {"log": str(log), "n": STEPS, "delay": 0.2},
        "stream_mode": ["custom", "values"],
        "durability": "sync",
    }


def is_whole(events: list[Event], log: NodeLog) -> None:
    """Fails unless the events have one attempt, each step once, and the end."""
    assert [e.data["attempt"] for e in events if e.name == "metadata"] == [1]
    assert [e.data["step"] for e in events if e.name == "custom"] == list(range(STEPS))
    assert [note["step"] for note in log.notes("end")] == list(range(STEPS))
    assert events[-2].data == {"items": list(range(STEPS))}
    assert events[-1].data == {"status": "success"}


async def nothing_has_exited(cluster: Cluster) -> None:
    assert all(
        process.process.poll() is None for process in (cluster.api, *cluster.ready_workers(1))
    )
    status, _ = await call_api(cluster.url, "POST", "/runs/wait", request("track"))
    assert status == 200


async def test_a_run_survives_a_redis_without_memory(
    fault_cluster: Cluster, redis: Client, log: NodeLog
) -> None:
    thread, idle, silent, later = [await Thread.create(fault_cluster.url) for _ in range(4)]
    ended = await Thread.create(fault_cluster.url)
    assert await ended.ended(await ended.start("track")) == "success"
    lingering = await silent.start("linger", configurable={"log": str(log)})
    await log.noted("begin")
    log.path.unlink()
    async with await thread.stream("track", **tracked(log)) as response:
        _, run_id = response.ids
        await response.until_events(2, "custom")
        deferred = await later.start("track", after_seconds=0.5)
        await fill(redis)
        await nothing_new_begins(fault_cluster, redis, idle)
        for _ in range(12):  # more than a lease
            await response.until_heartbeat()
        # A client that lost its connection reconnects and gets all events.
        async with await thread.join(run_id, "-1") as again:
            assert again.status == 200
            await again.until_events(2, "custom")
        # Requests that free memory are accepted.
        assert (
            await call_api(fault_cluster.url, "POST", f"{silent.runs_path}/{lingering}/cancel")
        )[0] == 202
        assert await silent.ended(lingering) == "interrupted"
        assert (await call_api(fault_cluster.url, "DELETE", f"/threads/{ended.id}"))[0] == 204
        assert not await redis.keys(f"*{ended.id}*")
        assert (await thread.run(run_id))["status"] == "running"
        assert (await later.run(deferred))["status"] == "pending"
        await redis.config_set("maxmemory", 0)
        is_whole(await response.events(), log)
    assert await thread.ended(run_id) == "success"
    assert await thread.status() == "idle"
    assert await later.ended(deferred) == "success"
    await nothing_has_exited(fault_cluster)


async def test_without_memory_a_cancel_ends_runs_that_fill_their_streams(
    fault_cluster: Cluster, redis: Client, log: NodeLog
) -> None:
    knobs = {"log": str(log), "busy": 1}
    thread = await Thread.create(fault_cluster.url)
    async with await thread.stream("linger", configurable=knobs, stream_mode="custom") as response:
        _, run_id = response.ids
        await response.until_events(3, "custom")
        await fill(redis)
        for _ in range(5):
            await response.until_heartbeat()
        assert (await call_api(fault_cluster.url, "POST", f"{thread.runs_path}/{run_id}/cancel"))[
            0
        ] == 202
        await log.noted("stopped")
        await redis.config_set("maxmemory", 0)
        events = await response.events()
    assert events[-1].data == {"status": "interrupted"}
    left = [event.data["left"] for event in events if event.name == "custom"]
    assert left == sorted(set(left), reverse=True)
    assert await thread.replay(run_id) == events


async def test_runs_survive_a_redis_that_becomes_a_replica(
    fault_cluster: Cluster, redis: Client, log: NodeLog
) -> None:
    thread, idle = await Thread.create(fault_cluster.url), await Thread.create(fault_cluster.url)
    async with await thread.stream("track", **tracked(log)) as response:
        _, run_id = response.ids
        await response.until_events(2, "custom")
        behind = await thread.start("track", configurable={"n": 1})
        await redis.replicaof("127.0.0.1", "1")  # no server listens there: it keeps its data
        await nothing_new_begins(fault_cluster, redis, idle)
        for _ in range(20):  # more than a lease: nobody can renew it, so the graph is stopped
            await response.until_heartbeat()
        assert (await call_api(fault_cluster.url, "GET", f"{thread.runs_path}/{run_id}"))[0] == 200
        await redis.replicaof("NO", "ONE")
        events = await response.events()
    assert {event.data["attempt"] for event in events if event.name == "metadata"} == {1}
    seen = [event.data["step"] for event in events if event.name == "custom"]
    assert seen == sorted(seen)
    assert set(seen) == set(range(STEPS))
    assert events[-2].data == {"items": list(range(STEPS))}
    assert events[-1].data == {"status": "success"}
    assert await thread.replay(run_id) == events
    assert await thread.ended(behind) == "success"
    await until(lambda: thread_is_idle(thread))
    await nothing_has_exited(fault_cluster)


async def thread_is_idle(thread: Thread) -> bool:
    return await thread.status() == "idle"
