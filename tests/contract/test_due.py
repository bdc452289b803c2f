"""The poll for due jobs uses the clock of Redis and changes nothing."""

import pytest

from contract.builders import a_spec, admit, dump, job, make_due, running
from millstream.shared import keys, queue, scripts
from millstream.shared.redis import Client


async def test_an_empty_queue_has_no_due_and_no_later_job(any_redis: Client) -> None:
    assert await scripts.find_due(any_redis, "default", 10) == ([], None)


async def test_due_jobs_come_oldest_first_with_the_time_of_the_next(
    any_redis: Client,
) -> None:
    specs = [await admit(any_redis) for _ in range(4)]
    for n, spec in enumerate(specs):
        await any_redis.zadd(keys.queue("default"), {job(spec): 10 - n})
    await admit(any_redis, delay_ms=90_000)
    await admit(any_redis, delay_ms=60_000)
    before = await dump(any_redis)
    ids, later = await scripts.find_due(any_redis, "default", 3)
    assert ids == [job(spec) for spec in reversed(specs)][:3]
    assert later == pytest.approx(60, abs=5)
    assert await dump(any_redis) == before


async def test_a_leased_run_is_due_when_its_lease_lapses(any_redis: Client) -> None:
    claim = await running(any_redis)
    ids, later = await scripts.find_due(any_redis, "default", 10)
    assert ids == []
    assert later == pytest.approx(60, abs=5)
    await make_due(any_redis, claim.spec)
    assert await scripts.find_due(any_redis, "default", 10) == ([claim.job], None)


async def test_a_job_with_a_lost_wake_up_is_due(any_redis: Client) -> None:
    spec = await admit(any_redis)
    await any_redis.delete(keys.wake("default"))
    assert (await scripts.find_due(any_redis, "default", 10))[0] == [job(spec)]


async def test_a_deferred_run_is_due_after_its_delay(any_redis: Client) -> None:
    before = await queue.redis_time(any_redis) * 1000
    spec = await admit(any_redis, delay_ms=60_000)
    after = await queue.redis_time(any_redis) * 1000
    due = await any_redis.zscore(keys.queue("default"), job(spec))
    assert due is not None
    assert before - 1 <= due - 60_000 <= after


async def test_queues_are_separate(any_redis: Client) -> None:
    await admit(any_redis)
    assert await scripts.find_due(any_redis, "other", 10) == ([], None)


async def test_several_queues_are_searched_in_one_round_trip(real_redis: Client) -> None:
    spec, other = await admit(real_redis), await admit(real_redis, a_spec(queue="other"))
    await admit(real_redis, a_spec(queue="other"), delay_ms=60_000)
    (ids, later), (other_ids, other_later) = await scripts.find_due_in(
        real_redis, ["default", "other"], 10
    )
    assert (ids, later, other_ids) == ([job(spec)], None, [job(other)])
    assert other_later is not None
    await forget(real_redis, "other")


async def test_a_wait_begins_with_the_first_queue_and_names_the_queue_of_the_job(
    real_redis: Client,
) -> None:
    names = ["default", "other"]
    default, other = await admit(real_redis), await admit(real_redis, a_spec(queue="other"))
    await admit(real_redis)
    assert await queue.wait_for_wake(real_redis, names[::-1], 1) == (job(other), "other")
    assert await queue.wait_for_wake(real_redis, names[::-1], 1) == (job(default), "default")
    assert await queue.wait_for_wake(real_redis, ["other"], 0.01) is None
    await forget(real_redis, "other")


async def forget(redis: Client, name: str) -> None:
    """Deletes the keys of a queue."""
    per_queue = (keys.queue, keys.wake, keys.backlog, keys.queue_workers)
    await redis.delete(*(key(name) for key in per_queue))
