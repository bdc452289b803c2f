"""Words in Redis that are none of ours: they are taken out, and hold up nobody."""

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
    """The only worker: the same one lives on."""
    [worker] = fault_cluster.ready_workers(1, most=1)
    yield worker
    assert worker.process.poll() is None


async def both_ways(cluster: Cluster) -> None:
    """Runs are executed that wake a worker, and runs that it has to look for."""
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
    # A cancel of all runs goes through what is alive.
    thread = await Thread.create(fault_cluster.url)
    run = await thread.start("linger")
    assert (await call_api(fault_cluster.url, "POST", "/runs/cancel", {"status": "all"}))[0] == 204
    assert await thread.ended(run) == "interrupted"
    await both_ways(fault_cluster)
    for name in (keys.live(), keys.retired(), keys.garbage()):
        await until_empty(fault_redis, name)
    # The upkeep goes on: a temporary thread leaves nothing, a queue that was lost is made anew.
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
