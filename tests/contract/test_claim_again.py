"""Claims of runs that were due later, were claimed before, or belong to a thread with other runs."""

import pytest

from contract.builders import (
    ATTEMPTS,
    a_spec,
    admit,
    end,
    events_of,
    job,
    make_due,
    new_id,
    queued,
    record,
    running,
    take,
    try_claim,
    waiting,
    write,
)
from millstream.shared import keys, scripts
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.rules.multitask import CancelAction

LEASE_GRACE_MS = 20_000
FUTURE = 8 * 10**15  # µs: fences of a clock that was ahead


async def test_a_deferred_run_is_deferred_until_it_is_claimed(any_redis: Client) -> None:
    """A run that stayed in the set would have the next one refused although nothing is due later."""
    spec = await admit(any_redis, delay_ms=60_000)
    assert await any_redis.zcard(keys.deferred(spec.thread_id)) == 1
    await make_due(any_redis, spec)
    claim = await take(any_redis, spec)
    assert await any_redis.zcard(keys.deferred(spec.thread_id)) == 0
    await end(any_redis, claim)
    next_spec = await admit(any_redis, a_spec(spec.thread_id, strategy="reject"))
    assert await try_claim(any_redis, next_spec) is not None


async def test_a_deferred_run_that_meets_a_busy_thread_joins_its_fifo(any_redis: Client) -> None:
    thread = new_id()
    later = await admit(any_redis, a_spec(thread), delay_ms=60_000)
    claim = await running(any_redis, a_spec(thread))
    await make_due(any_redis, later)
    assert await try_claim(any_redis, later) is None
    assert await waiting(any_redis, thread) == [job(later)]
    assert job(later) not in await queued(any_redis)
    assert await any_redis.zcard(keys.deferred(thread)) == 0
    await end(any_redis, claim)
    assert await try_claim(any_redis, later) is not None


async def test_fences_rise_though_the_clock_went_back(any_redis: Client) -> None:
    old = await running(any_redis)
    run = keys.run(old.spec.thread_id, old.spec.run_id)
    await any_redis.hset(run, "fence", str(FUTURE))  # type: ignore[misc]
    await make_due(any_redis, old.spec)
    assert (await take(any_redis, old.spec, "w2")).fence == FUTURE + 1


async def test_a_run_has_started_with_its_first_attempt(any_redis: Client) -> None:
    before = await redis_time(any_redis) * 1_000_000
    spec = await admit(any_redis)
    assert "started_at" not in await record(any_redis, spec)
    await take(any_redis, spec)
    started = (await record(any_redis, spec))["started_at"]
    assert before - 1 <= int(started) <= await redis_time(any_redis) * 1_000_000
    await make_due(any_redis, spec)
    await take(any_redis, spec, "w2")
    assert (await record(any_redis, spec))["started_at"] == started


async def test_a_claim_sent_again_says_what_was_stored_and_cancelled_since(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    claim = await try_claim(any_redis, spec, token="t1")
    assert claim is not None
    assert await write(any_redis, claim, 1, "values", "{}", "values", "{}")
    await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.ROLLBACK)
    again = await try_claim(any_redis, spec, token="t1")
    assert again is not None
    assert (again.fence, again.attempt, again.cancel) == (claim.fence, 1, "rollback")
    assert again.index == claim.index + 2 == len(await events_of(any_redis, spec))


@pytest.mark.parametrize("crashes", range(ATTEMPTS + 1))
async def test_a_claim_sent_again_says_whether_the_run_is_given_up(
    any_redis: Client, crashes: int
) -> None:
    spec = await admit(any_redis)
    for _ in range(crashes):
        assert await scripts.hand_back(any_redis, await take(any_redis, spec), crash="signal 11")
    claim = await try_claim(any_redis, spec, token="t1")
    assert claim is not None
    assert (claim.crashes, claim.exhausted) == (crashes, crashes >= ATTEMPTS)
    assert claim.crash == ("signal 11" if crashes else "")
    assert await try_claim(any_redis, spec, token="t1") == claim


async def test_a_run_that_was_handed_back_is_claimed_anew_with_the_same_token(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    old = await try_claim(any_redis, spec, token="t1")
    assert old is not None
    assert await scripts.hand_back(any_redis, old)
    new = await try_claim(any_redis, spec, token="t1")
    assert new is not None
    assert new.fence > old.fence
    assert await write(any_redis, new, 1, "values", "{}")


async def test_a_worker_that_can_not_execute_a_run_uses_up_no_grace(any_redis: Client) -> None:
    """It looks at the run whose lease has lapsed; the outage in which its holder is spared comes later."""
    claim = await running(any_redis)
    await make_due(any_redis, claim.spec)
    assert await try_claim(any_redis, claim.spec, "w2", graphs=["other"]) is None
    await make_due(any_redis, claim.spec)
    assert await try_claim(any_redis, claim.spec, "w3", lease_grace_ms=LEASE_GRACE_MS) is None
    assert await write(any_redis, claim, 1, "values", "{}")
