"""More displaced runs than one script ends: the admission marks them, and later scripts end them."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from contract.builders import (
    LEASE_MS,
    STREAM_TTL,
    a_spec,
    admit,
    dump,
    end,
    events_of,
    job,
    new_id,
    queued,
    record,
    running,
    take,
    try_claim,
    waiting,
)
from contract.test_displacement import ACTIONS, HOOK, positions, status
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, repair, scripts
from millstream.shared.redis import Client
from millstream.shared.scripts.runs.admit import MAX_ENDED
from millstream.shared.wire import RunSpec


async def crowded(redis: Client, action: str) -> tuple[list[RunSpec], RunSpec, list[bytes]]:
    """Displaces more runs than one script ends. Returns them, the new run, and the runs left to the caller."""
    thread = new_id()
    first = await admit(redis, a_spec(thread))
    others = [await admit(redis, a_spec(thread, kwargs=HOOK)) for _ in range(MAX_ENDED + 1)]
    later = await admit(redis, a_spec(thread), delay_ms=60_000)
    newest = a_spec(thread, strategy=action)
    _, left = await scripts.admit(redis, newest, delay_ms=0, new_thread=None, stream_ttl=STREAM_TTL)
    return [first, *others, later], newest, left


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_displaced_run_left_to_the_caller_can_not_be_claimed(
    any_redis: Client, action: str
) -> None:
    displaced, newest, left = await crowded(any_redis, action)
    assert [t.decode().split()[0] for t in left] == [job(s) for s in displaced[MAX_ENDED:]]
    for spec in displaced[MAX_ENDED:]:
        assert await status(any_redis, spec) == "pending"
        assert (await record(any_redis, spec))["cancel"] == action
        assert await try_claim(any_redis, spec) is None
    assert set(await queued(any_redis)) == {job(newest)}
    assert await waiting(any_redis, newest.thread_id) == []

    claim = await take(any_redis, newest)  # it need not wait for them
    done = await scripts.end_displaced(any_redis, newest.thread_id, left, stream_ttl=STREAM_TTL)
    assert done == len(left)
    ended = "gone" if action == "rollback" else "interrupted"
    assert {await status(any_redis, spec) for spec in displaced} == {ended}
    before = await dump(any_redis)
    assert not await scripts.end_displaced(any_redis, newest.thread_id, left, stream_ttl=STREAM_TTL)
    assert await dump(any_redis) == before
    await end(any_redis, claim)
    assert await any_redis.scard(keys.live()) == 0  # type: ignore[misc]
    assert await any_redis.zcard(keys.deliveries()) == MAX_ENDED + 1
    ids = await positions(any_redis, [*displaced, newest])
    assert len(set(ids)) == len(ids)


async def test_fifty_contenders_end_each_displaced_run_once(
    any_redis: Client,
) -> None:
    displaced, newest, left = await crowded(any_redis, "interrupt")
    done = await asyncio.gather(
        *(
            scripts.end_displaced(any_redis, newest.thread_id, left, stream_ttl=STREAM_TTL)
            for _ in range(50)
        ),
        *(try_claim(any_redis, spec) for spec in displaced[MAX_ENDED:]),
    )
    assert [claim for claim in done[50:] if claim is not None] == []
    assert sum(n for n in done[:50] if isinstance(n, int)) == len(left)
    for spec in displaced:
        assert [name for name, _ in await events_of(any_redis, spec)] == ["end"]


async def test_a_run_that_is_not_displaced_is_skipped(any_redis: Client) -> None:
    claim = await running(any_redis)
    pending = await admit(any_redis, a_spec(claim.spec.thread_id))
    before = await dump(any_redis)
    run_refs = [
        keys.run_ref(spec.thread_id, spec.run_id, spec.queue).encode()
        for spec in (claim.spec, pending, a_spec(pending.thread_id))
    ]
    done = await scripts.end_displaced(
        any_redis, pending.thread_id, [b"junk", *run_refs], stream_ttl=STREAM_TTL
    )
    assert done == 0
    assert await dump(any_redis) == before


@pytest.mark.parametrize("action", ACTIONS)
async def test_the_reaper_ends_displaced_runs_of_a_dead_caller(
    any_redis: Client, action: str
) -> None:
    displaced, newest, left = await crowded(any_redis, action)
    done = await repair.repair_runs(any_redis, lease_ms=LEASE_MS, stream_ttl=STREAM_TTL)
    assert done == {"cancelled": len(left)}
    ended = "gone" if action == "rollback" else "interrupted"
    assert {await status(any_redis, spec) for spec in displaced} == {ended}
    assert await waiting(any_redis, newest.thread_id) == []
    await end(any_redis, await take(any_redis, newest))


DIES: str = """
import asyncio, os, signal, sys
from dataclasses import replace

from contract.builders import a_submission
from millstream.shared import runs, scripts
from millstream.shared.rules.multitask import Strategy
from millstream.shared.redis import connect

async def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

async def main(url, thread, action):
    scripts.end_displaced = die
    asked = replace(a_submission(thread, strategy=Strategy(action)), new_thread=None)
    await runs.submit(connect(url), asked, stream_ttl=60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_caller_killed_between_the_two_steps_starts_no_displaced_run(
    real_redis: Client, redis_server: EmbeddedRedis, action: str
) -> None:
    thread = new_id()
    displaced = [await admit(real_redis, a_spec(thread)) for _ in range(MAX_ENDED + 5)]
    url = redis_server.url.rpartition("/")[0] + "/1"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DIES, url, thread, action, cwd=Path(__file__).parents[1]
    )
    assert await process.wait() == -signal.SIGKILL
    left = displaced[MAX_ENDED:]
    assert [await status(real_redis, spec) for spec in left] == ["pending"] * len(left)
    assert [claim for spec in displaced if (claim := await try_claim(real_redis, spec))] == []
    [newest] = await queued(real_redis)
    run_id = keys.parse_job_id(newest)[1]
    await end(real_redis, await take(real_redis, a_spec(thread, run_id=run_id)))
    done = await repair.repair_runs(real_redis, lease_ms=LEASE_MS, stream_ttl=STREAM_TTL)
    assert done == {"cancelled": len(left)}
    ended = "gone" if action == "rollback" else "interrupted"
    assert {await status(real_redis, spec) for spec in displaced} == {ended}
    assert await real_redis.scard(keys.live()) == 0  # type: ignore[misc]
