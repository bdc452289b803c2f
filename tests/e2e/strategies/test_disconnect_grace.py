"""Disconnects: which of them cancel a run, and how long a client may take to reconnect."""

from typing import Any

import httpx
import pytest

from e2e.strategies.client import Client, NodeLog
from e2e.strategies.conftest import GRACE, StrategyCluster
from harness.waiting import until

LONG: dict[str, Any] = {"left": 100, "delay": 0.1}


async def assert_continues(
    client: Client, thread: str, run: str, log: NodeLog, steps: int = 5
) -> None:
    """Waits until the run has done some more steps, and is still running."""
    await log.wait_for("stop", times=len(log.times("stop")) + steps)
    assert await client.status(thread, run) == "running"
    await client.cancel(thread, run, wait=True)


@pytest.mark.parametrize("path", ["stream", "wait"])
async def test_a_run_is_cancelled_when_its_creator_disconnects(
    client: Client, log: NodeLog, path: str
) -> None:
    thread = await client.thread()
    body = client.body("walk", **LONG, log=log.path)
    run = await client.follow("POST", f"/threads/{thread}/runs/{path}", body)
    stored = await until(lambda: client.items(thread))
    await run.leave()
    await client.reaches(thread, run.run_id, "interrupted", within=10)
    assert (await client.items(thread))[: len(stored)] == stored


@pytest.mark.parametrize("path", ["stream", "wait"])
async def test_on_disconnect_continue_keeps_the_run(
    client: Client, log: NodeLog, path: str
) -> None:
    thread = await client.thread()
    body = client.body("walk", **LONG, log=log.path, on_disconnect="continue")
    run = await client.follow("POST", f"/threads/{thread}/runs/{path}", body)
    await log.wait_for("stop")
    await run.leave()
    await assert_continues(client, thread, run.run_id, log)


@pytest.mark.parametrize("path", ["stream", "join"])
@pytest.mark.parametrize("cancels", [True, False])
async def test_a_joined_client_cancels_by_disconnect_only_if_requested(
    client: Client, log: NodeLog, path: str, cancels: bool
) -> None:
    thread = await client.thread()
    run = await client.create(thread, "walk", **LONG, log=log.path)
    await log.wait_for("stop")
    url_path = f"/threads/{thread}/runs/{run}/{path}"
    joined = await client.follow("GET", url_path, params={"cancel_on_disconnect": int(cancels)})
    await joined.leave()
    if cancels:
        await client.reaches(thread, run, "interrupted", within=10)
    else:
        await assert_continues(client, thread, run, log)


async def test_a_queued_run_is_cancelled_when_its_creator_disconnects(
    client: Client, log: NodeLog
) -> None:
    thread = await client.thread()
    first = await client.create(thread, "walk", **LONG, log=log.path)
    await log.wait_for("start")
    queued = await client.stream(thread, "walk", tag="b", log=log.path)
    await queued.leave()
    await client.reaches(thread, queued.run_id, "interrupted", within=10)
    await assert_continues(client, thread, first, log, steps=1)
    assert not log.times("start", "b")


async def test_a_reconnect_within_the_grace_keeps_the_run(
    client: Client, grace_client: Client, log: NodeLog
) -> None:
    thread = await client.thread()
    run = await grace_client.stream(thread, "walk", left=25, delay=0.1, log=log.path)
    await log.wait_for("stop")
    await until(lambda: "values" in run.names)
    await run.leave()
    path = f"/threads/{thread}/runs/{run.run_id}/stream"
    again = await client.follow("GET", path, headers={"last-event-id": run.last_id})
    assert await again.ended() == "success"  # 2.5 s after its start: the grace is over by then
    seen = [data["left"] for name, data in run.events + again.events if name == "values"]
    assert seen == list(range(25, -1, -1))


@pytest.mark.parametrize(("create", "again"), [("stream", "stream"), ("wait", "join")])
async def test_a_reconnect_before_the_disconnect_is_noticed_keeps_the_run(
    client: Client, grace_client: Client, log: NodeLog, create: str, again: str
) -> None:
    """The server may notice a dead connection late."""
    thread = await client.thread()
    body = grace_client.body("walk", left=25, delay=0.1, log=log.path)
    run = await grace_client.follow("POST", f"/threads/{thread}/runs/{create}", body)
    await log.wait_for("stop")
    back = await client.follow("GET", f"/threads/{thread}/runs/{run.run_id}/{again}")
    await run.leave()
    await client.reaches(thread, run.run_id, "success", "interrupted")
    assert await client.status(thread, run.run_id) == "success"
    await until(lambda: back.over)


async def test_a_reconnect_after_the_grace_finds_the_run_cancelled(
    client: Client, grace_client: Client, log: NodeLog
) -> None:
    thread = await client.thread()
    run = await grace_client.stream(thread, "walk", **LONG, log=log.path)
    await log.wait_for("stop")
    await run.leave()
    left = len(log.times("stop"))
    await client.reaches(thread, run.run_id, "interrupted", within=GRACE + 2)
    assert len(log.times("stop")) > left + 3  # the grace passed first
    path = f"/threads/{thread}/runs/{run.run_id}/stream"
    again = await client.follow("GET", path, headers={"last-event-id": run.last_id})
    assert await again.ended() == "interrupted"


async def test_a_reconnect_to_a_queued_run_keeps_it(
    client: Client, grace_client: Client, log: NodeLog
) -> None:
    thread = await client.thread()
    first = await client.create(thread, "walk", **LONG, log=log.path)
    await log.wait_for("start")
    queued = await grace_client.stream(thread, "walk", tag="b")
    await queued.leave()
    again = await client.follow("GET", f"/threads/{thread}/runs/{queued.run_id}/stream")
    steps = round((GRACE + 0.5) / 0.1)
    await assert_continues(client, thread, first, log, steps=steps)
    assert await again.ended() == "success"


async def test_a_second_disconnect_gets_its_own_grace(
    client: Client, grace_client: Client, log: NodeLog
) -> None:
    """The end of the first grace does not end the second."""
    thread = await client.thread()
    run = await grace_client.stream(thread, "walk", **LONG, log=log.path)
    await log.wait_for("stop")
    await run.leave()
    path = f"/threads/{thread}/runs/{run.run_id}/stream"
    again = await grace_client.follow("GET", path, params={"cancel_on_disconnect": 1})
    await again.leave()
    await client.reaches(thread, run.run_id, "interrupted", within=GRACE + 2)
    assert len(log.times("stop")) >= GRACE / 0.1 - 2


async def test_a_killed_api_cancels_nothing(
    cluster: StrategyCluster, client: Client, log: NodeLog
) -> None:
    api = cluster.fleet.api().wait_ready()
    thread = await client.thread()
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as http:
        doomed = Client(http)
        run = await doomed.stream(thread, "walk", left=20, delay=0.1, log=log.path)
        joined = await doomed.follow(
            "GET", f"/threads/{thread}/runs/{run.run_id}/join", params={"cancel_on_disconnect": 1}
        )
        await log.wait_for("stop")
        api.kill()
        for follower in (run, joined):
            await follower.failed()
    url_path = f"/threads/{thread}/runs/{run.run_id}/stream"
    again = await client.follow("GET", url_path, headers={"last-event-id": run.last_id})
    assert await again.ended() == "success"


async def test_a_stopped_api_cancels_nothing(
    cluster: StrategyCluster, client: Client, log: NodeLog
) -> None:
    api = cluster.fleet.api().wait_ready()
    thread = await client.thread()
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as http:
        run = await Client(http).stream(thread, "walk", left=20, delay=0.1, log=log.path)
        await log.wait_for("stop")
        api.stop()
        await until(lambda: run.over)
        assert "end" not in run.names
        await run.failed()
    await client.reaches(thread, run.run_id, "success")


async def test_a_grace_that_ends_after_the_run_changes_nothing(
    grace_client: Client, client: Client, log: NodeLog
) -> None:
    thread = await client.thread()
    run = await grace_client.stream(thread, "walk", left=3, delay=0.1, log=log.path)
    await log.wait_for("start")
    await run.leave()
    await client.reaches(thread, run.run_id, "success")
    record = await client.thread_record(thread)
    await client.wait(await client.thread(), "walk", left=12, delay=0.1)  # the grace ends
    assert await client.status(thread, run.run_id) == "success"
    assert await client.thread_record(thread) == record
