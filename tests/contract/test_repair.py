"""The reaper repairs stuck runs and threads, and does not change healthy ones."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

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
    make_due,
    queued,
    record,
    renew,
    running,
    take,
    thread_of,
    try_claim,
    waiting,
    woken,
    write,
)
from millstream.shared import keys, repair, scripts, threads
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.wire import RunSpec


async def repair_run(redis: Client, spec: RunSpec) -> str:
    return await scripts.repair_run(
        redis, job(spec), spec.queue, lease_ms=LEASE_MS, stream_ttl=STREAM_TTL
    )


async def repair_all(redis: Client) -> Counter[str]:
    """One complete pass of the reaper."""
    done = await repair.repair_runs(redis, lease_ms=LEASE_MS, stream_ttl=STREAM_TTL)
    done += await repair.repair_threads(redis)
    while await redis.get(keys.leader_lock("threads")) != b"0":
        done += await repair.repair_threads(redis)
    return done + await repair.finish_deletions(redis, stream_ttl=STREAM_TTL)


async def two_on_a_thread(redis: Client) -> tuple[RunSpec, RunSpec]:
    """A queued run, and a run that waits for it."""
    first = await admit(redis)
    return first, await admit(redis, a_spec(thread_id=first.thread_id))


async def pending_run(redis: Client) -> RunSpec:
    return await admit(redis)


async def deferred_run(redis: Client) -> RunSpec:
    return await admit(redis, delay_ms=60_000)


async def running_run(redis: Client) -> RunSpec:
    return (await running(redis)).spec


async def lapsed_run(redis: Client) -> RunSpec:
    spec = (await running(redis)).spec
    await make_due(redis, spec)
    return spec


async def waiting_run(redis: Client) -> RunSpec:
    return (await two_on_a_thread(redis))[1]


async def cancelled_in_a_worker(redis: Client) -> RunSpec:
    spec = (await running(redis)).spec
    await scripts.cancel(redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
    return spec


async def ended_run(redis: Client) -> RunSpec:
    claim = await running(redis)
    await end(redis, claim)
    return claim.spec


HEALTHY = [
    pending_run, deferred_run, running_run, lapsed_run, waiting_run, cancelled_in_a_worker,
    ended_run,
]  # fmt: skip


@pytest.mark.parametrize("make", HEALTHY)
async def test_a_healthy_run_is_unchanged(
    any_redis: Client, make: Callable[[Client], Awaitable[RunSpec]]
) -> None:
    spec = await make(any_redis)
    before = await dump(any_redis)
    assert await repair_run(any_redis, spec) == "fine"
    assert await scripts.repair_thread(any_redis, spec.thread_id) == "fine"
    assert await repair_all(any_redis) == {}
    assert await dump(any_redis) == before
    if await any_redis.sismember(keys.live(), job(spec)):  # type: ignore[misc]
        assert await repair.find_stuck_runs(any_redis, [job(spec)]) == []
    assert await repair.find_stuck_threads(any_redis, [spec.thread_id]) == []


async def test_an_unqueued_pending_run_is_queued(any_redis: Client) -> None:
    spec = await admit(any_redis)
    await any_redis.delete(keys.queue(spec.queue), keys.wake(spec.queue))
    assert await repair_all(any_redis) == {"queued": 1}
    assert list(await queued(any_redis)) == await woken(any_redis) == [job(spec)]
    assert await end(any_redis, await take(any_redis, spec)) == "success"


async def test_a_run_missing_from_the_fifo_is_added_again(any_redis: Client) -> None:
    first, second = await two_on_a_thread(any_redis)
    await any_redis.delete(keys.waiting(first.thread_id))
    assert await repair_all(any_redis) == {"queued": 1}
    assert await waiting(any_redis, first.thread_id) == [job(second)]
    await end(any_redis, await take(any_redis, first))
    assert await end(any_redis, await take(any_redis, second)) == "success"


async def test_a_running_run_missing_from_the_queue_gets_a_lease(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    await any_redis.zrem(keys.queue(claim.spec.queue), claim.job)
    assert await repair_all(any_redis) == {"queued": 1}
    assert await try_claim(any_redis, claim.spec, "w2") is None  # it may be alive
    assert await renew(any_redis, claim) == "held"
    await make_due(any_redis, claim.spec)
    assert (await take(any_redis, claim.spec, "w2")).attempt == 2


async def test_a_thread_whose_active_run_is_lost_releases_the_next(any_redis: Client) -> None:
    first, second = await two_on_a_thread(any_redis)
    await any_redis.delete(keys.run(first.thread_id, first.run_id))
    assert (await repair_all(any_redis))["ended"] == 1
    assert (await thread_of(any_redis, first))["active"] == second.run_id
    assert await try_claim(any_redis, first) is None  # the claim removes it from the queue
    assert job(first) not in await queued(any_redis)
    assert await end(any_redis, await take(any_redis, second)) == "success"
    assert (await thread_of(any_redis, second))["status"] == "idle"


async def test_a_busy_thread_without_a_live_run_becomes_idle(any_redis: Client) -> None:
    claim = await running(any_redis)
    thread, run = claim.spec.thread_id, claim.spec.run_id
    await any_redis.delete(keys.run(thread, run), keys.live(), keys.queue(claim.spec.queue))
    assert await repair_all(any_redis) == {"released": 1}
    assert (await thread_of(any_redis, claim.spec))["status"] == "idle"
    assert await repair_all(any_redis) == {}


async def test_the_set_of_live_runs_is_restored_from_the_threads(any_redis: Client) -> None:
    claim = await running(any_redis)
    await any_redis.delete(keys.live())
    assert await repair_all(any_redis) == {"counted": 1}
    assert await any_redis.smembers(keys.live()) == {claim.job.encode()}  # type: ignore[misc]


async def test_runs_that_wait_on_an_idle_thread_are_released(any_redis: Client) -> None:
    first, second = await two_on_a_thread(any_redis)
    await end(any_redis, await take(any_redis, first))
    await any_redis.hdel(keys.thread(first.thread_id), "active")  # type: ignore[misc]
    await any_redis.zrem(keys.queue(first.queue), job(second))
    await any_redis.rpush(  # type: ignore[misc]
        keys.waiting(first.thread_id), keys.run_ref(first.thread_id, second.run_id, second.queue)
    )
    assert sum((await repair_all(any_redis)).values()) >= 1
    assert await end(any_redis, await take(any_redis, second)) == "success"


async def test_an_ended_run_is_removed_from_the_live_runs(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    await write(any_redis, claim, 1, "values", "{}")
    run = keys.run(claim.spec.thread_id, claim.spec.run_id)
    await any_redis.hset(run, "status", "success")  # type: ignore[misc]
    assert (await repair_all(any_redis))["ended"] == 1
    assert (await events_of(any_redis, claim.spec))[-1] == ("end", {"status": "success"})
    assert (await thread_of(any_redis, claim.spec))["status"] == "idle"
    assert await queued(any_redis) == {}
    assert await repair_run(any_redis, claim.spec) == "fine"  # and the end is written once


@pytest.mark.parametrize("held", [False, True], ids=["pending", "lapsed"])
async def test_a_run_whose_thread_is_gone_ends_as_an_error(any_redis: Client, held: bool) -> None:
    spec = (await running(any_redis)).spec if held else await admit(any_redis)
    await make_due(any_redis, spec)
    await any_redis.delete(keys.thread(spec.thread_id), keys.runs(spec.thread_id))
    assert await try_claim(any_redis, spec, "w2") is None  # there is nothing to claim
    if held:
        assert await repair_all(any_redis) == {"queued": 1}  # its worker may be alive, for a lease
        await make_due(any_redis, spec)
        assert await try_claim(any_redis, spec, "w2") is None
    assert await repair_all(any_redis) == {"stranded": 1}
    stored = await record(any_redis, spec)
    assert stored["status"] == "error"
    assert "ThreadLost" in stored["error"]
    *_, (error, error_data), last = await events_of(any_redis, spec)
    assert (error, error_data["error"], last) == (
        "error",
        "ThreadLost",
        ("end", {"status": "error"}),
    )
    assert await try_claim(any_redis, spec) is None


async def test_a_leased_run_is_not_repaired(any_redis: Client) -> None:
    claim = await running(any_redis)
    await any_redis.delete(keys.thread(claim.spec.thread_id), keys.runs(claim.spec.thread_id))
    assert await repair_run(any_redis, claim.spec) == "fine"
    assert await end(any_redis, claim) == "success"
    await any_redis.delete(
        keys.thread(claim.spec.thread_id), keys.run(claim.spec.thread_id, claim.spec.run_id)
    )


async def test_an_incomplete_cancel_is_completed(any_redis: Client) -> None:
    """The API stores a cancel, then ends a pending run; it may die in between."""
    _, second = await two_on_a_thread(any_redis)
    await scripts.cancel(any_redis, second.thread_id, second.run_id, CancelAction.INTERRUPT)
    assert await repair_all(any_redis) == {"cancelled": 1}
    assert (await record(any_redis, second))["status"] == "interrupted"
    assert await waiting(any_redis, second.thread_id) == []


async def test_an_interrupted_deletion_is_completed(any_redis: Client) -> None:
    first, _ = await two_on_a_thread(any_redis)
    claim = await take(any_redis, first)
    await threads.retire_thread(any_redis, first.thread_id)
    await repair_all(any_redis)
    assert await any_redis.exists(keys.thread(first.thread_id))  # its run has not ended yet
    assert await renew(any_redis, claim) == "interrupt"
    await end(any_redis, claim, Cause.CANCELLED)
    assert (await repair_all(any_redis))["deleted"] == 1
    assert [k async for k in any_redis.scan_iter(f"*{first.thread_id}*")] == []
    assert await any_redis.scard(keys.retired()) == 0  # type: ignore[misc]


async def test_a_stale_worker_is_still_fenced_after_a_repair(any_redis: Client) -> None:
    """A stale worker: another worker claimed the run after the repair."""
    stale = await running(any_redis)
    await any_redis.zrem(keys.queue(stale.spec.queue), stale.job)
    await repair_all(any_redis)
    await make_due(any_redis, stale.spec)
    fresh = await take(any_redis, stale.spec, "w2")
    assert await renew(any_redis, stale) == "lost"
    assert not await write(any_redis, stale, 1, "values", "{}")
    with pytest.raises(FencedError):
        await end(any_redis, stale)
    assert await repair_run(any_redis, stale.spec) == "fine"
    assert await end(any_redis, fresh) == "success"


async def test_one_of_fifty_repairs_changes_the_run(any_redis: Client) -> None:
    spec = await admit(any_redis)
    await any_redis.delete(keys.queue(spec.queue), keys.wake(spec.queue))
    replies = await asyncio.gather(*(repair_run(any_redis, spec) for _ in range(50)))
    assert Counter(replies) == {"queued": 1, "fine": 49}
    assert await woken(any_redis) == [job(spec)]

    claim = await take(any_redis, spec)
    await any_redis.hset(  # type: ignore[misc]
        keys.run(spec.thread_id, spec.run_id), "status", "success"
    )
    freed = await asyncio.gather(
        *(scripts.repair_thread(any_redis, spec.thread_id) for _ in range(50))
    )
    assert Counter(freed) == {"released": 1, "fine": 49}
    assert await repair_run(any_redis, claim.spec) == "ended"


async def test_a_repair_and_the_end_of_a_run_do_not_conflict(any_redis: Client) -> None:
    """Fifty repairs race the worker that ends the run: the run ends once, and releases one run."""
    first, second = await two_on_a_thread(any_redis)
    claim = await take(any_redis, first)
    attempts = [repair_run(any_redis, first) for _ in range(50)]
    attempts.insert(25, end(any_redis, claim))  # type: ignore[arg-type]
    await asyncio.gather(*attempts)
    names = [name for name, _ in await events_of(any_redis, first)]
    assert names.count("end") == 1
    assert (await thread_of(any_redis, first))["active"] == second.run_id
    assert list(await queued(any_redis)) == [job(second)]


async def test_one_of_fifty_takes_the_leader_lock(any_redis: Client) -> None:
    attempts = [repair.take_leader_lock(any_redis, "reaper", every=60) for _ in range(50)]
    assert sum(await asyncio.gather(*attempts)) == 1


async def test_an_invalid_run_ref_does_not_block_a_thread(any_redis: Client) -> None:
    claim = await running(any_redis)
    await end(any_redis, claim)
    thread = keys.thread(claim.spec.thread_id)
    await any_redis.hset(thread, "active", "junk")  # type: ignore[misc]
    assert await repair_all(any_redis) == {"released": 1}
    assert (await thread_of(any_redis, claim.spec))["status"] == "idle"


async def test_the_sweep_deletes_the_checkpoints_of_a_stranded_run(any_redis: Client) -> None:
    spec = await admit(any_redis)
    await any_redis.delete(keys.thread(spec.thread_id), keys.queue(spec.queue))
    assert await repair_all(any_redis) == {"stranded": 1}
    assert not await any_redis.exists(keys.runs(spec.thread_id))
    assert await any_redis.zrange(keys.garbage(), 0, -1) == [job(spec).encode()]
    [(_, fields), *_] = await any_redis.xrange(keys.events(spec.thread_id, spec.run_id))
    assert fields[b"first"] == b"1"  # nothing was trimmed away before it
