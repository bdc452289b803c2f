"""Many runs, many workers: each thread executes its runs one at a time, in their order."""

import asyncio
import random

import pytest

from contract.builders import (
    a_spec,
    admit,
    end,
    end_pending,
    job,
    new_id,
    queued,
    running,
    thread_of,
    try_claim,
    waiting,
)
from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.wire import RunSpec


class Pool:
    """Five workers that execute due runs until all runs have ended."""

    def __init__(self, redis: Client, specs: list[RunSpec]) -> None:
        self.redis = redis
        self.specs = {job(spec): spec for spec in specs}
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.active: dict[str, int] = {}
        self.max_active = 0

    async def work(self, name: str) -> None:
        while len(self.ended) < len(self.specs):
            ids, _ = await scripts.find_due(self.redis, "default", 5)
            for job_name in ids:
                claim = await try_claim(self.redis, self.specs[job_name], name)
                if claim is None:
                    continue
                thread = claim.spec.thread_id
                self.begun.append(claim.job)
                self.active[thread] = self.active.get(thread, 0) + 1
                self.max_active = max(self.max_active, *self.active.values())
                for _ in range(random.randrange(3)):
                    await asyncio.sleep(0)
                self.active[thread] -= 1
                assert await end(self.redis, claim) is not None
                self.ended.append(claim.job)

    async def work_all(self) -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for n in range(5):
                group.create_task(self.work(f"w{n}"))


async def test_twenty_runs_of_a_thread_are_executed_one_at_a_time_in_order(
    any_redis: Client,
) -> None:
    thread = new_id()
    specs = [await admit(any_redis, a_spec(thread)) for _ in range(20)]
    pool = Pool(any_redis, specs)
    await pool.work_all()
    assert pool.begun == pool.ended == [job(spec) for spec in specs]
    assert pool.max_active == 1
    assert await queued(any_redis) == {}
    assert await waiting(any_redis, thread) == []
    thread_record = await thread_of(any_redis, specs[0])
    assert thread_record["status"] == "idle"
    assert "active" not in thread_record


async def test_threads_do_not_wait_for_each_other_and_each_keeps_its_order(
    any_redis: Client,
) -> None:
    threads = [new_id() for _ in range(5)]
    specs = [await admit(any_redis, a_spec(thread)) for _ in range(6) for thread in threads]
    pool = Pool(any_redis, specs)
    await pool.work_all()
    for thread in threads:
        expected = [job(spec) for spec in specs if spec.thread_id == thread]
        assert [job_name for job_name in pool.begun if job_name.startswith(thread)] == expected
    assert pool.max_active == 1


@pytest.mark.parametrize("seed", range(5))
async def test_cancels_of_waiting_runs_keep_the_order_of_the_rest(
    any_redis: Client, seed: int
) -> None:
    chance = random.Random(seed)
    first = await running(any_redis)
    specs = [await admit(any_redis, a_spec(first.spec.thread_id)) for _ in range(20)]
    cancelled = chance.sample(specs, 8)
    for spec in cancelled:
        assert await end_pending(any_redis, spec) is not None
    rest = [spec for spec in specs if spec not in cancelled]
    pool = Pool(any_redis, rest)
    await asyncio.gather(pool.work_all(), end(any_redis, first))
    assert pool.begun == [job(spec) for spec in rest]


async def test_runs_admitted_while_others_end_are_all_executed(
    any_redis: Client,
) -> None:
    thread = new_id()
    specs = [a_spec(thread) for _ in range(40)]
    pool = Pool(any_redis, specs)

    async def feed() -> None:
        for spec in specs:
            await admit(any_redis, spec)

    await asyncio.gather(feed(), pool.work_all())
    assert pool.begun == [job(spec) for spec in specs]
    assert pool.max_active == 1
    assert await any_redis.zcard(keys.runs(thread)) == 40
