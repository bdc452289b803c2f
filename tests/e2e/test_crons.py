"""A thousand crons are due at the same second, and the worker that fires them is killed."""

import asyncio
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from e2e.conftest import Cluster
from harness.waiting import until
from millstream.shared import crons, keys, threads
from millstream.shared.assistants import default_assistant_id
from millstream.shared.crons import CronFilter
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client, connect
from millstream.shared.wire import Cron, RunConfig, RunRequest, unpack_spec

pytestmark = pytest.mark.xdist_group("worker_cluster")

CRONS = 1000
YEARLY = "0 0 1 1 *"
ASSISTANT = default_assistant_id("track")


@pytest.fixture
async def redis(worker_cluster: Cluster) -> AsyncIterator[Client]:
    client = connect(worker_cluster.redis.url)
    yield client
    for record in await crons.find(client, CronFilter()):
        await crons.delete(client, record.cron.cron_id)
    await client.aclose()


async def create(redis: Client) -> str:
    cron = Cron(
        cron_id=str(uuid.uuid4()),
        assistant_id=ASSISTANT,
        thread_id=None,
        schedule=YEARLY,
        timezone=None,
        end_time=None,
        enabled=True,
        on_run_completed="keep",
        metadata=b"{}",
    )
    request = RunRequest(
        assistant_id=ASSISTANT,
        input={},
        config=RunConfig(configurable={"n": 1}),
        metadata={"cron_id": cron.cron_id},
        creates_thread=True,
    )
    await crons.create(redis, cron, b"{}", request)
    return cron.cron_id


async def delete(redis: Client, thread: str) -> None:
    """Deletes all threads, so that a restart of this Redis need not load them."""
    await threads.retire_thread(redis, thread)
    if not await threads.delete_thread(redis, thread):  # a worker's reaper was faster
        assert not await redis.exists(keys.thread(thread))


async def runs_of(redis: Client, known: set[str]) -> list[tuple[str, str, str]]:
    """Returns (thread, cron id, status) of every run of those crons."""
    every = [name async for name in redis.scan_iter("ms:{*}:run:*", count=10_000, _type="HASH")]
    names = [name for name in every if name.count(b":") == 3]
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hmget(name, ["spec", "status"])
    result = []
    for spec, status in await pipe.execute():
        read = unpack_spec(spec)
        cron_id = msgspec.json.decode(read.metadata).get("cron_id")
        if cron_id in known:
            result.append((read.thread_id, cron_id, status.decode()))
    return result


async def test_each_of_a_thousand_crons_fires_once_despite_a_killed_worker(
    worker_cluster: Cluster, redis: Client, record_property: Callable[[str, object], None]
) -> None:
    first, *others = worker_cluster.ready_workers(3, limit=3)
    known = set(await asyncio.gather(*(create(redis) for _ in range(CRONS))))
    second = float(int(await redis_time(redis) + 1) * 1000)

    async def due() -> int:
        return int(await redis.zcount(keys.crons(), "-inf", second))

    async def firing() -> bool:
        return 0 < await due() <= CRONS - 100

    for other in others:
        other.send(signal.SIGSTOP)  # so that the first worker fires
    try:
        await redis.zadd(keys.crons(), dict.fromkeys(known, second), xx=True)
        await until(firing, what="the first worker is in the middle of it")
    finally:
        first.kill()
        for other in others:
            other.send(signal.SIGCONT)
    left = await due()
    began = time.monotonic()

    async def all_have_run() -> bool:
        done = await runs_of(redis, known)
        return len(done) >= CRONS and all(status == "success" for *_, status in done)

    await until(all_have_run, within=90, what="all have run")
    record_property("crons_left_by_the_dead", left)
    print(f"{left} of {CRONS} were left to the others: {time.monotonic() - began:.1f} s")  # noqa: T201
    assert Counter(cron_id for _, cron_id, _ in await runs_of(redis, known)) == dict.fromkeys(
        known, 1
    )
    assert await due() == 0
    await asyncio.gather(*(delete(redis, thread) for thread, *_ in await runs_of(redis, known)))
