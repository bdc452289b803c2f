"""A handed back run is due at once, for any worker, and has used up no attempt."""

import asyncio

import pytest

from contract.builders import (
    dump,
    end,
    events_of,
    overtaken,
    queued,
    record,
    running,
    take,
    thread_of,
    woken,
)
from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.rules.multitask import CancelAction


async def test_a_handed_back_run_is_due_and_wakes_a_worker(any_redis: Client) -> None:
    claim = await running(any_redis)
    await any_redis.delete(keys.wake("default"))
    assert await scripts.hand_back(any_redis, claim)
    stored = await record(any_redis, claim.spec)
    assert (stored["status"], stored["attempt"], stored["fence"]) == (
        "pending",
        "0",
        str(claim.fence),
    )
    assert await woken(any_redis) == [claim.job]
    assert (await scripts.find_due(any_redis, "default", 10))[0] == [claim.job]
    assert list(await queued(any_redis)) == [claim.job]
    assert (await thread_of(any_redis, claim.spec))["active"] == claim.spec.run_id


async def test_a_later_claim_returns_the_cancel(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.cancel(any_redis, claim.spec.thread_id, claim.spec.run_id, CancelAction.INTERRUPT)
    await scripts.hand_back(any_redis, claim)
    assert (await take(any_redis, claim.spec, "w2")).cancel == "interrupt"
    assert len(await events_of(any_redis, claim.spec)) == 1


@pytest.mark.parametrize("situation", ["overtaken", "ended", "handed back", "unknown"])
async def test_a_stale_worker_can_not_hand_back(any_redis: Client, situation: str) -> None:
    if situation == "overtaken":
        claim, _ = await overtaken(any_redis)
    else:
        claim = await running(any_redis)
    if situation == "handed back":
        await scripts.hand_back(any_redis, claim)
    if situation in ("ended", "unknown"):
        await end(any_redis, claim)
    if situation == "unknown":
        await scripts.delete_run(any_redis, claim.spec.thread_id, claim.spec.run_id)
    before = await dump(any_redis)
    assert not await scripts.hand_back(any_redis, claim)
    assert await dump(any_redis) == before


async def test_one_of_fifty_contenders_hands_back(any_redis: Client) -> None:
    claim = await running(any_redis)
    await any_redis.delete(keys.wake("default"))
    handed_back = await asyncio.gather(*(scripts.hand_back(any_redis, claim) for _ in range(50)))
    assert sum(handed_back) == 1
    assert await woken(any_redis) == [claim.job]
    assert (await record(any_redis, claim.spec))["attempt"] == "0"


async def test_a_run_is_either_ended_or_handed_back(any_redis: Client) -> None:
    for _ in range(20):
        claim = await running(any_redis)
        handed_back, ended = await asyncio.gather(
            scripts.hand_back(any_redis, claim), end(any_redis, claim)
        )
        assert handed_back == (ended is None)
        assert (claim.job in await queued(any_redis)) == handed_back
