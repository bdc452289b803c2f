"""Redis has lost data, and the workers repair the runs and threads that depend on it."""

import signal
from collections.abc import AsyncIterator

import pytest

from e2e.conftest import Cluster, NodeLog, Thread, request
from e2e.raw_http import call_api
from harness.processes import Process
from harness.waiting import until
from millstream.shared import keys, threads
from millstream.shared.redis import Client

pytestmark = pytest.mark.xdist_group("worker_cluster")

REPAIR_SECONDS = 40.0  # the reaper checks a part of all threads once a lease


@pytest.fixture
async def frozen(worker_cluster: Cluster) -> AsyncIterator[Process]:
    """The only worker, frozen until the test or its end continues it."""
    [worker] = worker_cluster.ready_workers(1, limit=1)
    worker.send(signal.SIGSTOP)
    yield worker
    worker.send(signal.SIGCONT)


async def is_idle(thread: Thread) -> bool:
    return await thread.status() == "idle"


async def nothing_of(redis: Client, thread_id: str) -> bool:
    """Returns whether no key and no permanent set contains the thread."""
    if await redis.keys(f"*{thread_id}*") or await redis.sismember(keys.retired(), thread_id):  # type: ignore[misc]
        return False
    return not [job for job in await redis.smembers(keys.live()) if thread_id.encode() in job]  # type: ignore[misc]


async def test_a_lost_queue_is_restored(
    worker_cluster: Cluster, worker_redis: Client, frozen: Process
) -> None:
    thread, other = await Thread.create(worker_cluster.url), await Thread.create(worker_cluster.url)
    runs = [await thread.start("track") for _ in range(3)]
    deferred = await other.start("track", after_seconds=3600)
    async with await thread.join(runs[0]) as response:
        await worker_redis.delete(keys.queue("default"), keys.wake("default"))
        frozen.send(signal.SIGCONT)
        events = await response.events()
    assert events[-1].data == {"status": "success"}
    for run in runs:
        assert await thread.ended(run, within=REPAIR_SECONDS) == "success"
    await until(lambda: is_idle(thread))
    # The due time of a deferred run is lost, so it is executed at once rather than never.
    assert await other.ended(deferred, within=REPAIR_SECONDS) == "success"
    status, state = await call_api(worker_cluster.url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"]["items"]) == (200, [0, 1, 2, 3, 4])


async def test_a_queue_lost_during_a_run_is_restored(
    worker_cluster: Cluster, worker_redis: Client, log: NodeLog
) -> None:
    worker_cluster.ready_workers(1, limit=1)
    thread = await Thread.create(worker_cluster.url)
    knobs = {"log": str(log), "n": 12, "delay": 0.2}
    async with await thread.stream("track", configurable=knobs, stream_mode="custom") as response:
        await response.until_events(2, "custom")
        await worker_redis.delete(keys.queue("default"))
        events = await response.events()
    assert [event.data["attempt"] for event in events if event.name == "metadata"] == [1]
    assert [e.data["step"] for e in events if e.name == "custom"] == list(range(12))
    assert events[-1].data == {"status": "success"}


async def test_a_lost_queue_and_live_set_are_restored(
    worker_cluster: Cluster, worker_redis: Client, frozen: Process
) -> None:
    thread = await Thread.create(worker_cluster.url)
    runs = [await thread.start("track") for _ in range(2)]
    await worker_redis.delete(keys.queue("default"), keys.wake("default"), keys.live())
    frozen.send(signal.SIGCONT)
    for run in runs:
        assert await thread.ended(run, within=REPAIR_SECONDS) == "success"
    await until(lambda: is_idle(thread))


async def test_a_lost_live_set_is_restored(
    worker_cluster: Cluster, worker_redis: Client, log: NodeLog
) -> None:
    worker_cluster.ready_workers(1, limit=1)
    thread = await Thread.create(worker_cluster.url)
    knobs = {"log": str(log), "seconds": 600}
    run = await thread.start("linger", configurable=knobs)
    await log.noted("begin")
    await worker_redis.delete(keys.live())

    async def counted() -> bool:
        jobs = await worker_redis.smembers(keys.live())  # type: ignore[misc]
        return keys.job_id(thread.id, run).encode() in jobs

    await until(counted, within=REPAIR_SECONDS)
    assert (
        await call_api(worker_cluster.url, "POST", f"{thread.runs_path}/{run}/cancel?wait=1")
    ) == (
        200,
        {},
    )
    assert not await counted()


async def test_a_lost_run_record_frees_its_thread(
    worker_cluster: Cluster, worker_redis: Client, frozen: Process
) -> None:
    thread, alone = await Thread.create(worker_cluster.url), await Thread.create(worker_cluster.url)
    lost = await thread.start("track")
    behind = await thread.start("track", configurable={"n": 1})
    last = await alone.start("track")
    await worker_redis.delete(keys.run(thread.id, lost), keys.run(alone.id, last))
    frozen.send(signal.SIGCONT)
    assert await thread.ended(behind, within=REPAIR_SECONDS) == "success"
    await until(lambda: is_idle(thread))
    await until(lambda: is_idle(alone), within=REPAIR_SECONDS)
    body = request("track", configurable={"n": 2})
    assert await call_api(worker_cluster.url, "POST", f"{alone.runs_path}/wait", body) == (
        200,
        {"items": [0, 1]},
    )
    for thread_id in (thread.id, alone.id):
        assert (await call_api(worker_cluster.url, "DELETE", f"/threads/{thread_id}"))[0] == 204
        assert await nothing_of(worker_redis, thread_id)


async def test_an_interrupted_deletion_is_completed(
    worker_cluster: Cluster, worker_redis: Client, log: NodeLog
) -> None:
    worker_cluster.ready_workers(1, limit=1)
    thread = await Thread.create(worker_cluster.url)
    assert await thread.ended(await thread.start("track")) == "success"
    response = await thread.stream("linger", configurable={"log": str(log)})
    await thread.start("track")
    await thread.start("track", after_seconds=3600)
    await log.noted("begin")
    # The state after an API died right after it had retired the thread.
    await threads.retire_thread(worker_redis, thread.id)
    assert (await call_api(worker_cluster.url, "GET", f"/threads/{thread.id}"))[0] == 404

    async def gone() -> bool:
        return await nothing_of(worker_redis, thread.id)

    await until(gone, within=REPAIR_SECONDS)
    assert (await response.events())[-1].data == {"status": "interrupted"}
    await response.close()
    assert log.notes("stopped")


async def test_an_interrupted_deletion_is_completed_without_running_workers(
    worker_cluster: Cluster, worker_redis: Client
) -> None:
    worker_cluster.ready_workers(1)
    thread = await Thread.create(worker_cluster.url)
    assert await thread.ended(await thread.start("track")) == "success"
    worker_cluster.ready_workers(0, limit=0)
    await thread.start("track")
    await threads.retire_thread(worker_redis, thread.id)
    worker_cluster.ready_workers(1)

    async def gone() -> bool:
        return await nothing_of(worker_redis, thread.id)

    await until(gone, within=REPAIR_SECONDS)
