"""A run that is handed back is due at once, for any worker, and has used no attempt."""

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


async def test_a_run_handed_back_is_due_and_wakes_a_worker(any_redis: Client) -> None:
    claim = await running(any_redis)
    await any_redis.delete(keys.wake("default"))
    assert await scripts.hand_back(any_redis, claim)
    found = await record(any_redis, claim.spec)
    assert (found["status"], found["attempt"], found["fence"]) == ("pending", "0", str(claim.fence))
    assert await woken(any_redis) == [claim.job]
    assert (await scripts.find_due(any_redis, "default", 10))[0] == [claim.job]
    assert list(await queued(any_redis)) == [claim.job]
    assert (await thread_of(any_redis, claim.spec))["active"] == claim.spec.run_id


async def test_a_cancel_is_heard_by_the_worker_that_goes_on(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.cancel(any_redis, claim.spec.thread_id, claim.spec.run_id, CancelAction.INTERRUPT)
    await scripts.hand_back(any_redis, claim)
    assert (await take(any_redis, claim.spec, "w2")).cancel == "interrupt"
    assert len(await events_of(any_redis, claim.spec)) == 1


@pytest.mark.parametrize("situation", ["overtaken", "ended", "handed back", "unknown"])
async def test_a_worker_that_lost_its_run_can_not_hand_it_back(
    any_redis: Client, situation: str
) -> None:
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


async def test_of_fifty_contenders_one_hands_back(any_redis: Client) -> None:
    claim = await running(any_redis)
    await any_redis.delete(keys.wake("default"))
    given = await asyncio.gather(*(scripts.hand_back(any_redis, claim) for _ in range(50)))
    assert sum(given) == 1
    assert await woken(any_redis) == [claim.job]
    assert (await record(any_redis, claim.spec))["attempt"] == "0"


async def test_a_run_is_either_ended_or_handed_back(any_redis: Client) -> None:
    for _ in range(20):
        claim = await running(any_redis)
        given, ended = await asyncio.gather(
            scripts.hand_back(any_redis, claim), end(any_redis, claim)
        )
        assert given == (ended is None)
        assert (claim.job in await queued(any_redis)) == given
