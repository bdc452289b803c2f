"""Redis is killed and restarted with its data, while a run runs and clients follow it."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from e2e.conftest import Cluster, NodeLog, Thread, request
from e2e.raw_http import Event, RawResponse, call_api
from harness.processes import Process
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("worker_cluster")


LEASE = 3.0  # s; so long that a busy machine does not keep a holder from renewing


@pytest.fixture(params=[{}])
def workers(worker_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[list[Process]]:
    """Two workers with the settings of the test, and no others. They must survive the test."""
    worker_cluster.ready_workers(0, limit=0)
    hired = [worker_cluster.start_worker(LEASE_SECS=str(LEASE), **request.param) for _ in range(2)]
    try:
        yield [worker.wait_ready() for worker in hired]
        assert all(process.process.poll() is None for process in (worker_cluster.api, *hired))
    finally:
        worker_cluster.ready_workers(0, limit=0)


@asynccontextmanager
async def followed(
    worker_cluster: Cluster, log: NodeLog
) -> AsyncIterator[tuple[Thread, RawResponse]]:
    """A thread, and the stream of its run of eight steps, two of which have started."""
    thread = await Thread.create(worker_cluster.url)
    knobs = {"log": str(log), "n": 8, "delay": 0.25}
    async with await thread.stream("track", configurable=knobs, stream_mode="custom") as response:
        await response.until_events(2, "custom")
        yield thread, response


async def pause(seconds: float) -> None:
    """Waits for a time."""
    over = time.monotonic() + seconds
    await until(lambda: time.monotonic() >= over, within=2 * seconds + 5)


def attempts(events: list[Event]) -> set[int]:
    return {event.data["attempt"] for event in events if event.name == "metadata"}


@pytest.mark.parametrize("away", [0.0, LEASE + 0.5], ids=["short", "longer-than-a-lease"])
async def test_runs_survive_a_redis_restart(
    worker_cluster: Cluster, workers: list[Process], log: NodeLog, away: float
) -> None:
    async with followed(worker_cluster, log) as (thread, response):
        _, run_id = response.ids
        worker_cluster.redis.kill()
        # A request during the outage is rejected with a message, or waits for its end.
        refused = asyncio.create_task(call_api(worker_cluster.url, "GET", "/ok"))
        await pause(away)
        worker_cluster.redis.start()
        events = await response.events()
    assert (await refused)[0] in (200, 503)
    assert events[-1].data == {"status": "success"}
    assert [event.data["step"] for event in events if event.name == "custom"][-1] == 7
    assert (await thread.run(run_id))["status"] == "success"
    assert attempts(events) == {1}
    assert await thread.replay(run_id) == events
    assert await thread.status() != "busy"

    for _ in range(4):
        status, values = await call_api(
            worker_cluster.url, "POST", "/runs/wait", request("track", configurable={"n": 2})
        )
        assert (status, values) == (200, {"items": [0, 1]})
    once_more = await thread.start("track", configurable={"log": str(log), "n": 8})
    assert await thread.ended(once_more) == "success"
    status, state = await call_api(worker_cluster.url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"]["items"]) == (200, list(range(9)))


@pytest.mark.parametrize(
    "workers",
    [{}, {"N_JOBS_PER_WORKER": "1"}],
    indirect=True,
    ids=["the-other-is-idle", "the-other-has-no-slot-free"],
)
async def test_a_worker_late_after_an_outage_keeps_its_run(
    worker_cluster: Cluster, workers: list[Process], log: NodeLog
) -> None:
    async with followed(worker_cluster, log) as (thread, response):
        holder = worker_cluster.worker(log.notes()[-1]["pid"])
        holder.send(signal.SIGSTOP)
        beside = await Thread.create(worker_cluster.url)
        slow = {"log": str(log), "seconds": 0.5}
        run_id = await beside.start("linger", configurable=slow)
        await until(lambda: [n for n in log.notes("begin") if n["run"] == run_id])
        worker_cluster.redis.kill()
        await pause(LEASE + 0.5)
        worker_cluster.redis.start()
        # By now the other worker has polled for due runs.
        assert (await call_api(worker_cluster.url, "POST", "/runs/wait", request("track")))[
            0
        ] == 200
        assert await beside.ended(run_id) == "success"
        await pause(LEASE / 4)
        assert (await thread.run(response.ids[1]))["status"] == "running"
        holder.send(signal.SIGCONT)
        events = await response.events()
    assert events[-1].data == {"status": "success"}
    assert attempts(events) == {1}


async def test_a_live_client_loses_nothing_that_redis_forgot(
    worker_cluster: Cluster, workers: list[Process], log: NodeLog
) -> None:
    """Redis loses confirmed writes, because it is killed before it syncs. No other event gets their ids."""
    async with followed(worker_cluster, log) as (thread, response):
        _, run_id = response.ids
        files = (worker_cluster.redis.directory / "appendonlydir").glob("*.incr.aof")
        file = max(files, key=os.path.getmtime)
        size = file.stat().st_size
        await response.until_events(4, "custom")
        worker_cluster.redis.kill()
        os.truncate(file, size)
        worker_cluster.redis.start()
        events = await response.events()
    assert [event.data["step"] for event in events if event.name == "custom"] == list(range(8))
    assert [event.data["attempt"] for event in events if event.name == "metadata"] == [1]
    assert events[-1].data == {"status": "success"}
    left = await thread.replay(run_id)
    forgotten = [event for event in events if event not in left]
    assert {event.name for event in forgotten} == {"custom"}
    assert [event for event in events if event in left] == left
    assert (await thread.run(run_id))["status"] == "success"
    status, state = await call_api(worker_cluster.url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"]["items"]) == (200, list(range(8)))
