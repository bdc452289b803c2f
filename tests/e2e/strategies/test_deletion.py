"""Runs and threads are deleted while they run: no key is left, and every client gets the end."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from e2e.strategies.client import Client, NodeLog, StreamedResponse
from e2e.strategies.conftest import PrivateQueue
from harness.waiting import until
from millstream.shared.redis import Client as Redis

LONG: dict[str, Any] = {"left": 100, "delay": 0.1}


async def keys_of(redis: Redis, thread: str) -> list[str]:
    """Returns every key that names the thread."""
    return sorted([key.decode() async for key in redis.scan_iter(f"*{thread}*", count=5000)])


async def delete(client: Client, path: str) -> httpx.Response:
    return await client.http.delete(path)


async def test_deleting_a_run_cancels_it_first(client: Client, redis: Redis, log: NodeLog) -> None:
    thread = await client.thread()
    run = await client.stream(thread, "walk", **LONG, log=log.path)
    await log.wait_for("stop")
    queued = await client.stream(thread, "walk", tag="b", left=1)
    answer = await delete(client, f"/threads/{thread}/runs/{run.run_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert await run.ended(within=10) == "interrupted"
    assert await client.status(thread, run.run_id) == "gone"
    assert not [key for key in await keys_of(redis, thread) if run.run_id in key]
    assert await queued.ended() == "success"
    assert (await client.items(thread))[-1] == "b1"
    again = await delete(client, f"/threads/{thread}/runs/{run.run_id}")
    assert again.status_code == 404


@pytest.mark.parametrize("round_", range(3))
async def test_followers_on_another_api_get_the_end_of_a_deleted_run(
    client: Client, grace_client: Client, log: NodeLog, round_: int
) -> None:
    """The other API may read the stream only after it was deleted."""
    for number in range(10):
        thread, tag = await client.thread(), f"r{number}"
        run = await client.create(thread, "walk", left=9, delay=5, tag=tag, log=log.path)
        path = f"/threads/{thread}/runs/{run}"
        followers = [
            await (grace_client if n % 2 else client).follow("GET", f"{path}/stream")
            for n in range(4)
        ]
        joined = [await each.follow("GET", f"{path}/join") for each in (client, grace_client)]
        await log.wait_for("start", tag)
        # The second request may come after the deletion.
        answers = await asyncio.gather(delete(client, path), delete(grace_client, path))
        assert {answer.status_code for answer in answers} <= {204, 404}
        for follower in followers:
            assert await follower.ended(within=10) == "interrupted"
        for join in joined:
            assert isinstance(await join.answer(within=10), dict)


async def test_deleting_a_thread_ends_its_running_and_queued_runs(
    client: Client, redis: Redis, log: NodeLog
) -> None:
    thread = await client.thread()
    await client.wait(thread, "nested", left=2)
    run = await client.stream(thread, "nested", **LONG, log=log.path)
    await log.wait_for("start")
    queued = [await client.stream(thread, "walk", tag="b", log=log.path) for _ in range(5)]
    await client.create(thread, "walk", tag="b", log=log.path, after_seconds=600)
    answer = await delete(client, f"/threads/{thread}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert await keys_of(redis, thread) == []
    for follower in [run, *queued]:
        assert await follower.ended(within=10) == "interrupted"
    assert not log.times("start", "b")  # they never started
    assert await redis.zcard("ms:queue:default") == 0
    for path in ("", "/runs", "/state", f"/runs/{run.run_id}", f"/runs/{run.run_id}/stream"):
        assert (await client.http.get(f"/threads/{thread}{path}")).status_code == 404, path
    assert (await delete(client, f"/threads/{thread}")).status_code == 404
    await until(lambda: len(log.times("start")) == len(log.times("stop")))
    assert await keys_of(redis, thread) == []


@pytest.mark.parametrize("graph", ["stubborn", "blocking"])
async def test_deleting_a_thread_whose_graph_does_not_stop_deletes_all_keys(
    client: Client, redis: Redis, log: NodeLog, graph: str
) -> None:
    thread = await client.thread()
    run = await client.stream(thread, graph, delay=1.6, log=log.path)
    await log.wait_for("start")
    assert (await delete(client, f"/threads/{thread}")).status_code == 204
    assert await keys_of(redis, thread) == []
    await log.wait_for("late")
    await client.wait(await client.thread(), "walk", left=3)  # time for its late writes
    assert await keys_of(redis, thread) == []
    assert await run.ended() == "interrupted"


async def test_deleting_a_thread_after_a_rollback_deletes_all_keys(
    client: Client, redis: Redis, log: NodeLog
) -> None:
    thread = await client.thread()
    run = await client.stream(thread, "nested", **LONG, log=log.path)
    await log.wait_for("start")
    await client.wait(thread, "walk", multitask_strategy="rollback")
    assert await run.ended() == "interrupted"
    assert (await delete(client, f"/threads/{thread}")).status_code == 204
    assert await keys_of(redis, thread) == []


async def test_a_run_created_during_the_deletion_is_404(
    client: Client, grace_client: Client, redis: Redis, log: NodeLog
) -> None:
    thread = await client.thread()
    await client.create(thread, "stubborn", delay=1.6, log=log.path)
    await log.wait_for("start")
    deletion = asyncio.create_task(delete(client, f"/threads/{thread}"))

    async def closed() -> bool:
        return (await grace_client.http.get(f"/threads/{thread}")).status_code == 404

    await until(closed)
    assert not deletion.done()
    body = client.body("walk") | {"if_not_exists": "create"}
    for path in ("runs", "runs/stream", "runs/wait"):
        answer = await grace_client.http.post(f"/threads/{thread}/{path}", json=body)
        assert answer.status_code == 404, answer.text
    assert (await deletion).status_code == 204
    assert await keys_of(redis, thread) == []
    await log.wait_for("late")


async def test_runs_that_race_with_the_deletion_end_or_get_404(
    client: Client, grace_client: Client, redis: Redis
) -> None:
    """Each run is rejected, or its client gets the end; no key of either is left."""
    for _ in range(5):
        thread = await client.thread()

        async def start(number: int, thread: str = thread) -> StreamedResponse:
            api = (client, grace_client)[number % 2]
            strategy = ("enqueue", "interrupt", "rollback")[number % 3]
            body = api.body("walk", left=3, delay=0.01, multitask_strategy=strategy)
            return await api.follow("POST", f"/threads/{thread}/runs/stream", body)

        starts = [asyncio.create_task(start(number)) for number in range(12)]
        await asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED)
        assert (await delete(client, f"/threads/{thread}")).status_code == 204
        for follower in await asyncio.gather(*starts):
            if follower.status == 200:
                assert await follower.ended(within=10) in ("success", "interrupted")
            else:
                assert follower.status == 404
        assert await keys_of(redis, thread) == []


async def test_deleting_a_thread_whose_worker_died_deletes_all_keys(
    client: Client, private_queue: Callable[[str], PrivateQueue], redis: Redis, log: NodeLog
) -> None:
    queue = private_queue("walk")
    worker = queue.worker().wait_ready()
    thread = await client.thread()
    run = await client.stream(thread, queue.graph, **LONG, log=log.path)
    await log.wait_for("stop")
    worker.kill()
    deletion = asyncio.create_task(delete(client, f"/threads/{thread}"))
    queue.worker().wait_ready()
    assert (await deletion).status_code == 204
    assert await run.ended() == "interrupted"
    assert await keys_of(redis, thread) == []
