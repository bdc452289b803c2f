"""Redis is killed and comes back with its data, while a run runs and clients follow it."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest

from e2e.conftest import Log, Thread, Yard, request
from e2e.wire import ask
from harness.processes import Process
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("works")


LEASE = 3.0  # s; so long that a busy machine does not keep a holder from renewing


@pytest.fixture
def workers(works: Yard) -> Iterator[list[Process]]:
    """Two workers, and no others."""
    works.crew(0, most=0)
    hired = [works.hire(LEASE_SECS=str(LEASE)) for _ in range(2)]
    yield [worker.wait_ready() for worker in hired]
    works.crew(0, most=0)


@pytest.mark.parametrize("away", [0.0, LEASE + 0.5], ids=["short", "longer-than-a-lease"])
async def test_redis_killed_and_restarted(
    works: Yard, workers: list[Process], log: Log, away: float
) -> None:
    knobs = {"log": str(log), "n": 8, "delay": 0.25}
    thread = await Thread.create(works.url)
    async with await thread.stream("track", configurable=knobs, stream_mode="custom") as wire:
        await wire.until_events(2, "custom")
        _, run_id = wire.ids
        works.redis.kill()
        # A request in the outage is refused in words, or waits for it to pass.
        refused = asyncio.create_task(ask(works.url, "GET", "/ok"))
        back = time.monotonic() + away
        await until(lambda: time.monotonic() >= back)
        works.redis.start()
        events = await wire.events()
    assert (await refused)[0] in (200, 503)
    assert events[-1].data == {"status": "success"}
    assert [event.data["step"] for event in events if event.name == "custom"][-1] == 7
    assert (await thread.run(run_id))["status"] == "success"
    assert {event.data["attempt"] for event in events if event.name == "metadata"} == {1}
    assert await thread.replay(run_id) == events
    assert await thread.status() != "busy"

    for _ in range(4):
        status, values = await ask(
            works.url, "POST", "/runs/wait", request("track", configurable={"n": 2})
        )
        assert (status, values) == (200, {"items": [0, 1]})
    assert await thread.ended(await thread.start("track", configurable=knobs)) == "success"
    status, state = await ask(works.url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"]["items"]) == (200, list(range(9)))
    assert all(process.process.poll() is None for process in (works.api, *workers))


async def test_a_holder_that_is_late_after_an_outage_keeps_its_run(
    works: Yard, workers: list[Process], log: Log
) -> None:
    thread = await Thread.create(works.url)
    knobs = {"log": str(log), "n": 8, "delay": 0.25}
    async with await thread.stream("track", configurable=knobs, stream_mode="custom") as wire:
        await wire.until_events(2, "custom")
        holder = works.worker(log.notes()[-1]["pid"])
        holder.send(signal.SIGSTOP)
        works.redis.kill()
        back = time.monotonic() + LEASE + 0.5
        await until(lambda: time.monotonic() >= back)
        works.redis.start()
        # By now the other worker has found the lapsed lease.
        assert (await ask(works.url, "POST", "/runs/wait", request("track")))[0] == 200
        late = time.monotonic() + LEASE / 2
        await until(lambda: time.monotonic() >= late)
        holder.send(signal.SIGCONT)
        events = await wire.events()
    assert events[-1].data == {"status": "success"}
    assert {event.data["attempt"] for event in events if event.name == "metadata"} == {1}
    assert all(process.process.poll() is None for process in (works.api, *workers))


async def test_what_redis_forgot_costs_a_live_client_nothing(
    works: Yard, workers: list[Process], log: Log
) -> None:
    """Killed before its file had the latest: what it confirmed is lost, but no event takes its place."""
    thread = await Thread.create(works.url)
    knobs = {"log": str(log), "n": 8, "delay": 0.25}
    async with await thread.stream("track", configurable=knobs, stream_mode="custom") as wire:
        await wire.until_events(2, "custom")
        _, run_id = wire.ids
        files = (works.redis.directory / "appendonlydir").glob("*.incr.aof")
        file = max(files, key=os.path.getmtime)
        size = file.stat().st_size
        await wire.until_events(4, "custom")
        works.redis.kill()
        os.truncate(file, size)
        works.redis.start()
        events = await wire.events()
    assert [event.data["step"] for event in events if event.name == "custom"] == list(range(8))
    assert [event.data["attempt"] for event in events if event.name == "metadata"] == [1]
    assert events[-1].data == {"status": "success"}
    left = await thread.replay(run_id)
    forgotten = [event for event in events if event not in left]
    assert {event.name for event in forgotten} == {"custom"}
    assert [event for event in events if event in left] == left
    assert (await thread.run(run_id))["status"] == "success"
    status, state = await ask(works.url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"]["items"]) == (200, list(range(8)))
    assert all(process.process.poll() is None for process in (works.api, *workers))
