"""Redis has no memory left: no run starts, started runs can end, and no write is partial."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from redis.exceptions import OutOfMemoryError

from contract.builders import (
    a_spec,
    admit,
    dump,
    end,
    end_pending,
    make_due,
    record,
    renew,
    running,
    try_claim,
    write,
)
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, runs, scripts, threads
from millstream.shared.calls import call_worker
from millstream.shared.errors import UnavailableError
from millstream.shared.redis import Client, connect
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.threads import new_thread_fields


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    folder: Path = tmp_path_factory.mktemp("small")
    with EmbeddedRedis(folder, appendonly=False) as server:
        yield server


@pytest.fixture
async def redis(small_server: EmbeddedRedis) -> AsyncIterator[Client]:
    client = connect(small_server.url)
    await client.config_set("maxmemory", 0)
    await client.flushdb()
    yield client
    await client.aclose()


async def fill(redis: Client) -> None:
    """Fills the memory."""
    await redis.config_set("maxmemory-policy", "noeviction")
    await redis.config_set("maxmemory", 1)


async def test_without_memory_nothing_starts_and_nothing_is_half_written(redis: Client) -> None:
    spec = await admit(redis)
    claim = await running(redis)
    later = await admit(redis, delay_ms=60_000)
    await make_due(redis, later)
    await fill(redis)
    before = await dump(redis)
    new = a_spec()
    with pytest.raises(OutOfMemoryError):
        await scripts.admit(redis, new, stream_ttl=60, delay_ms=0, new_thread=new_thread_fields({}))
    displacing = a_spec(spec.thread_id, strategy="rollback")
    with pytest.raises(OutOfMemoryError):
        await scripts.admit(redis, displacing, delay_ms=0, new_thread=None, stream_ttl=60)
    with pytest.raises(OutOfMemoryError):
        await try_claim(redis, later)
    with pytest.raises(OutOfMemoryError):
        await threads.create_thread(redis, None, {}, if_exists="raise")
    with pytest.raises(OutOfMemoryError):
        await try_claim(redis, spec)
    with pytest.raises(OutOfMemoryError):
        await write(redis, claim, 1, "values", "{}")
    assert await dump(redis) == before
    await redis.config_set("maxmemory", 0)
    assert await try_claim(redis, spec) is not None
    assert await write(redis, claim, 1, "values", "{}")


async def test_without_memory_leases_are_renewed_and_runs_end(redis: Client) -> None:
    claim = await running(redis)
    cancelled = await running(redis)
    handed = await running(redis)
    pending = await admit(redis)
    marked = await admit(redis)
    await scripts.cancel(redis, marked.thread_id, marked.run_id, CancelAction.INTERRUPT)
    run_ref = keys.run_ref(marked.thread_id, marked.run_id, marked.queue).encode()
    await fill(redis)
    assert await scripts.end_displaced(redis, marked.thread_id, [run_ref], stream_ttl=60) == 1
    assert await renew(redis, claim) == "held"
    assert await end(redis, claim, events=["values", "{}"], output=b"{}") == "success"
    spec = cancelled.spec
    await runs.cancel(
        redis, spec.thread_id, spec.run_id, action=CancelAction.INTERRUPT, stream_ttl=60
    )
    assert await renew(redis, cancelled) == "interrupt"
    assert await scripts.hand_back(redis, handed)
    assert (await record(redis, handed.spec))["status"] == "pending"
    assert await end_pending(redis, pending) == "interrupted"


async def test_without_memory_threads_can_be_deleted(redis: Client) -> None:
    claim = await running(redis)
    await end(redis, claim)
    await fill(redis)
    await threads.retire_thread(redis, claim.spec.thread_id)
    assert await threads.delete_thread(redis, claim.spec.thread_id)


async def test_a_call_without_live_workers_fails_with_the_rejected_write(redis: Client) -> None:
    """Workers can't report that they are alive either, so that no worker seems to run."""
    call = partial(
        call_worker, redis, redis, queue="q", graph_id="g", verb="state", arguments={}, within=1.0
    )
    with pytest.raises(UnavailableError, match="No worker is running"):
        await call()
    await fill(redis)
    with pytest.raises(OutOfMemoryError):
        await call()
