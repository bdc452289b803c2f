"""The list of queues has what is needed: an assistant may name any queue, and clients must not fill the list."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from contract.builders import a_spec, admit, end, end_pending, new_id, take
from harness.workers import report_worker
from millstream.shared import keys, repair, scripts
from millstream.shared.redis import Client
from millstream.shared.scripts.runs import admit as admission

QUEUE = "rare"


@pytest.fixture
async def redis(any_redis: Client) -> AsyncIterator[Client]:
    yield any_redis
    per_queue = (keys.queue, keys.wake, keys.backlog, keys.queue_workers, keys.paused)
    await any_redis.delete(*(key(QUEUE) for key in per_queue))


async def listed(redis: Client) -> bool:
    return bool(await redis.sismember(keys.queues(), QUEUE))  # type: ignore[misc]


async def test_a_queue_is_listed_until_its_last_run_has_ended(redis: Client) -> None:
    spec = await admit(redis, a_spec(queue=QUEUE))
    assert await listed(redis)
    assert await repair.forget_queues(redis) == 0
    await end_pending(redis, spec)
    assert await repair.forget_queues(redis) == 1
    assert not await listed(redis)
    assert await repair.forget_queues(redis) == 0


async def test_queues_with_workers_graphs_or_a_pause_stay(redis: Client) -> None:
    await report_worker(redis, "w1", QUEUE)
    assert await repair.forget_queues(redis) == 0
    await redis.delete(keys.queue_workers(QUEUE))
    await scripts.offer_graphs(redis, ["default"], {"g": QUEUE})
    assert await repair.forget_queues(redis) == 0
    await redis.delete(keys.routes())
    await scripts.pause_queue(redis, QUEUE)
    assert await repair.forget_queues(redis) == 0
    await scripts.resume_queue(redis, QUEUE)
    assert await listed(redis)
    assert await repair.forget_queues(redis) == 1


async def test_the_queue_of_a_run_that_waits_for_its_thread_stays(redis: Client) -> None:
    thread = new_id()
    first = await take(redis, await admit(redis, a_spec(thread)))
    second = await admit(redis, a_spec(thread, queue=QUEUE))
    assert not await redis.exists(keys.queue(QUEUE))
    assert await repair.forget_queues(redis) == 0
    await end(redis, first)
    await end_pending(redis, second)


async def test_a_queue_that_got_a_run_meanwhile_stays(redis: Client) -> None:
    """The script checks again what its caller has read."""
    await end_pending(redis, await admit(redis, a_spec(queue=QUEUE)))
    await admit(redis, a_spec(queue=QUEUE))
    assert not await scripts.forget_queue(redis, QUEUE)
    assert await listed(redis)


async def test_fifty_contenders_lose_no_queue_with_runs(redis: Client) -> None:
    await end_pending(redis, await admit(redis, a_spec(queue=QUEUE)))
    forgotten = [scripts.forget_queue(redis, QUEUE) for _ in range(50)]
    admitted = [admit(redis, a_spec(queue=QUEUE)) for _ in range(50)]
    await asyncio.gather(*(step for pair in zip(forgotten, admitted, strict=True) for step in pair))
    assert await listed(redis)


async def test_admissions_list_a_limited_number_of_queues(
    redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_QUEUES", 1)
    await end_pending(redis, await admit(redis))
    await end_pending(redis, await admit(redis, a_spec(queue=QUEUE)))
    assert not await listed(redis)
    await report_worker(redis, "w1", QUEUE)
    assert await listed(redis)
