"""Redis is killed and comes back with its data, while a run runs and clients follow it."""

import asyncio
import time

import pytest

from e2e.conftest import Log, Thread, Yard, request
from e2e.wire import ask
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("works")


@pytest.mark.parametrize("away", [0.0, 2.5], ids=["short", "longer-than-a-lease"])
async def test_redis_killed_and_restarted(works: Yard, log: Log, away: float) -> None:
    workers = works.crew(2)
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
