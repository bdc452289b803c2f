"""Workers remove invalid members of their lists and sets, and no run is delayed."""

from collections.abc import Iterator

import pytest

from e2e.conftest import Cluster, Thread, request
from e2e.raw_http import call_api
from harness.processes import Process
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import Client

pytestmark = pytest.mark.xdist_group("fault_cluster")

JUNK = [b"", b"junk", b"/", b"a/", b"\xff\xfe/\xff", b"\xff", b"a/b", b"a b c/d", b"{}/\x00", b"/x"]


@pytest.fixture
def worker(fault_cluster: Cluster) -> Iterator[Process]:
    """The only worker, which must survive the test."""
    [worker] = fault_cluster.ready_workers(1, limit=1)
    yield worker
    assert worker.process.poll() is None


async def both_ways(cluster: Cluster) -> None:
    """Executes a run with a wake-up, and a run that a worker finds by its poll."""
    thread = await Thread.create(cluster.url)
    woken, later = await thread.start("track"), await thread.start("track", after_seconds=0.2)
    assert await thread.ended(woken, within=20) == "success"
    assert await thread.ended(later, within=20) == "success"


async def test_invalid_wake_ups_are_dropped(
    fault_cluster: Cluster, fault_redis: Client, worker: Process
) -> None:
    await fault_redis.rpush(keys.wake("default"), *JUNK)  # type: ignore[misc]
    await both_ways(fault_cluster)
    await until_empty(fault_redis, keys.wake("default"))


async def test_invalid_jobs_are_dropped(
    fault_cluster: Cluster, fault_redis: Client, worker: Process
) -> None:
    await fault_redis.zadd(keys.queue("default"), dict.fromkeys(JUNK, 0))
    await both_ways(fault_cluster)
    await until_empty(fault_redis, keys.queue("default"))


async def test_invalid_live_runs_and_threads_to_delete_are_dropped(
    fault_cluster: Cluster, fault_redis: Client, worker: Process
) -> None:
    await fault_redis.sadd(keys.live(), *JUNK)  # type: ignore[misc]
    await fault_redis.sadd(keys.retired(), *JUNK)  # type: ignore[misc]
    await fault_redis.zadd(keys.garbage(), dict.fromkeys(JUNK, 0))
    # A cancel of all runs reads the set of live runs.
    thread = await Thread.create(fault_cluster.url)
    run = await thread.start("linger")
    assert (await call_api(fault_cluster.url, "POST", "/runs/cancel", {"status": "all"}))[0] == 204
    assert await thread.ended(run) == "interrupted"
    await both_ways(fault_cluster)
    for name in (keys.live(), keys.retired(), keys.garbage()):
        await until_empty(fault_redis, name)
    # Maintenance continues: a temporary thread is deleted, and a lost queue is restored.
    assert (await call_api(fault_cluster.url, "POST", "/runs/wait", request("track")))[0] == 200
    await both_ways(fault_cluster)


async def test_invalid_calls_are_dropped(
    fault_cluster: Cluster, fault_redis: Client, worker: Process
) -> None:
    thread = await Thread.create(fault_cluster.url)
    await thread.ended(await thread.start("track"))
    await fault_redis.rpush(keys.calls("default"), *JUNK)  # type: ignore[misc]
    status, state = await call_api(fault_cluster.url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"]) == (200, {"items": [0, 1, 2]})


async def until_empty(redis: Client, name: str) -> None:
    async def empty() -> bool:
        return not await redis.exists(name)

    await until(empty, within=20, what=f"that {name} is empty")
