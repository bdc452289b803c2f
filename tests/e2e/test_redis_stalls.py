"""Redis stalls for some leases, as when it forks, swaps or is on a frozen machine."""

import asyncio
import os
import signal
import time

import pytest

from e2e.conftest import Cluster, NodeLog, Thread, request
from e2e.raw_http import call_api
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("fault_cluster")

LEASE = 1.0  # s, LEASE_SECS of `fault_cluster`
STEPS = 8


async def test_runs_survive_a_redis_stall_of_three_leases(
    fault_cluster: Cluster, log: NodeLog
) -> None:
    workers = fault_cluster.ready_workers(2)
    thread, beside = await Thread.create(fault_cluster.url), await Thread.create(fault_cluster.url)
    fields = {
        "configurable": {"log": str(log), "n": STEPS, "delay": 0.2},
        "stream_mode": ["custom", "values"],
        "durability": "sync",
    }
    async with await thread.stream("track", **fields) as response:
        _, run_id = response.ids
        await response.until_events(2, "custom")
        pid = fault_cluster.redis.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            responses = [
                asyncio.create_task(call_api(fault_cluster.url, "GET", f"/threads/{thread.id}")),
                asyncio.create_task(
                    call_api(fault_cluster.url, "GET", f"/threads/{thread.id}/state")
                ),
                asyncio.create_task(
                    call_api(fault_cluster.url, "POST", beside.runs_path, request("track"))
                ),
                asyncio.create_task(
                    call_api(fault_cluster.url, "POST", "/runs/wait", request("track"))
                ),
                asyncio.create_task(call_api(fault_cluster.url, "GET", "/ok")),
            ]
            over = time.monotonic() + 3 * LEASE
            while time.monotonic() < over:
                await response.until_heartbeat()
        finally:
            os.kill(pid, signal.SIGCONT)
        events = await response.events()
    # A request waits until the stall is over, or is rejected with a message.
    for status, body in await asyncio.gather(*responses):
        assert status in (200, 503), body
    # The worker could not renew its lease, so its graph was stopped and resumes from its checkpoint. On
    # a busy machine another worker may be faster than the one that hands the run back.
    attempts = [event.data["attempt"] for event in events if event.name == "metadata"]
    print("attempts:", attempts)  # noqa: T201
    assert attempts in ([1], [1, 1], [1, 2])
    # The step whose end could not be stored was repeated.
    done = [note["step"] for note in log.notes("end")]
    seen = [event.data["step"] for event in events if event.name == "custom"]
    for steps in (done, seen):
        assert steps == sorted(steps)
        assert set(steps) == set(range(STEPS))
    assert [event.data for event in events if event.name == "end"] == [{"status": "success"}]
    assert events[-2].data == {"items": list(range(STEPS))}
    assert await thread.ended(run_id) == "success"
    assert await thread.replay(run_id) == events
    assert await thread.status() == "idle"
    assert all(process.process.poll() is None for process in (fault_cluster.api, *workers))

    async def is_idle() -> bool:
        return await beside.status() == "idle"

    await until(is_idle)  # what was posted in the stall is executed
    status, values = await call_api(
        fault_cluster.url, "POST", f"{thread.runs_path}/wait", request("track")
    )
    assert (status, values) == (200, {"items": list(range(STEPS + 1))})
