"""The poll for due jobs uses the clock of Redis and changes nothing."""

import pytest

from contract.builders import admit, dump, job, make_due, running
from millstream.shared import keys, scripts
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


async def test_queues_are_separate(any_redis: Client) -> None:
    await admit(any_redis)
    assert await scripts.find_due(any_redis, "other", 10) == ([], None)
