"""A renewal extends the lease of its holder and returns a cancel or the loss of the run."""

import asyncio

import pytest

from contract.builders import (
    LEASE_MS,
    dump,
    end,
    make_due,
    overtaken,
    queued,
    renew,
    running,
    try_claim,
)
from millstream.shared import keys, scripts
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.rules.multitask import CancelAction


async def test_a_renewal_changes_only_the_end_of_the_lease(any_redis: Client) -> None:
    claim = await running(any_redis)
    before = await dump(any_redis)
    started_ms = await redis_time(any_redis) * 1000
    assert await renew(any_redis, claim, 2 * LEASE_MS) == "held"
    lease_ends = (await queued(any_redis))[claim.job]
    assert started_ms + 2 * LEASE_MS - 1 <= lease_ends <= started_ms + 2 * LEASE_MS + 5_000
    after = await dump(any_redis)
    del before[keys.queue("default")], after[keys.queue("default")]
    assert after == before


async def test_a_renewal_restores_a_lapsed_unclaimed_lease(any_redis: Client) -> None:
    claim = await running(any_redis)
    await make_due(any_redis, claim.spec)
    assert await renew(any_redis, claim) == "held"
    assert await try_claim(any_redis, claim.spec, "w2") is None


async def test_a_renewal_returns_a_cancel_and_renews(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.cancel(any_redis, claim.spec.thread_id, claim.spec.run_id, CancelAction.INTERRUPT)
    await make_due(any_redis, claim.spec)
    assert await renew(any_redis, claim) == "interrupt"
    assert await try_claim(any_redis, claim.spec, "w2") is None


@pytest.mark.parametrize("situation", ["overtaken", "ended", "handed back", "deleted"])
async def test_a_renewal_of_a_lost_run_changes_nothing(any_redis: Client, situation: str) -> None:
    if situation == "overtaken":
        claim, _ = await overtaken(any_redis)
    else:
        claim = await running(any_redis)
    if situation == "handed back":
        await scripts.hand_back(any_redis, claim)
    if situation in ("ended", "deleted"):
        await end(any_redis, claim)
    if situation == "deleted":
        await scripts.delete_run(any_redis, claim.spec.thread_id, claim.spec.run_id)
    before = await dump(any_redis)
    assert await renew(any_redis, claim) == "lost"
    assert await dump(any_redis) == before


async def test_a_lapsed_lease_is_either_renewed_or_claimed(any_redis: Client) -> None:
    claim = await running(any_redis)
    await make_due(any_redis, claim.spec)
    renewals = [renew(any_redis, claim) for _ in range(25)]
    claims = [try_claim(any_redis, claim.spec, "w2") for _ in range(25)]
    replies, taken = await asyncio.gather(asyncio.gather(*renewals), asyncio.gather(*claims))
    winners = [c for c in taken if c is not None]
    assert len(winners) <= 1
    assert ("lost" in replies) == bool(winners)
    assert await renew(any_redis, claim) == ("lost" if winners else "held")
