"""What webhooks are told: noted with each end, taken by one, settled by whoever has it."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from contract.builders import (
    LONG_AGO,
    STREAM_TTL,
    a_spec,
    admit,
    dump,
    end,
    end_pending,
    job,
    make_due,
    new_id,
    overtaken,
    running,
    take,
    try_claim,
)  # fmt: skip
from millstream.shared import keys, repair, runs, scripts, webhooks
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.webhooks import Delivery
from millstream.shared.wire import RunSpec

CONTENDERS = 50
URL = "https://example.com/hook"
CALLED = msgspec.json.encode({"input": {"a": 1}, "webhook": URL})


async def due(redis: Client, lease_ms: int = 60_000) -> list[Delivery]:
    return await webhooks.take(redis, limit=100, lease_ms=lease_ms)


async def ended(redis: Client, **changes: Any) -> RunSpec:
    """Ends a run that has a webhook."""
    claim = await running(redis, await admit(redis, a_spec(kwargs=CALLED, **changes)))
    await end(redis, claim, output=b'{"n":1}')
    return claim.spec


async def forget(redis: Client, *taken: Delivery) -> None:
    for each in taken:
        assert await webhooks.settle(redis, each, after_ms=None)


async def test_the_end_is_noted_with_all_that_is_told(any_redis: Client) -> None:
    claim = await running(any_redis, await admit(any_redis, a_spec(kwargs=CALLED)))
    assert await due(any_redis) == []
    await end(any_redis, claim, output=b'{"n":1}')
    [found] = await due(any_redis)
    assert (found.job, found.url, found.tries) == (job(claim.spec), URL, 0)
    assert found.webhook_id == claim.spec.run_id
    told = msgspec.json.decode(msgspec.json.encode(found.payload(1_700_000_000_000_000)))
    shown = await runs.get_run(any_redis, claim.spec.thread_id, claim.spec.run_id)
    assert told["status"] == shown.status == "success"
    assert (told["values"], told["error"]) == ({"n": 1}, None)
    assert (told["run_id"], told["kwargs"]) == (
        claim.spec.run_id,
        {"input": {"a": 1}, "webhook": URL},
    )
    assert told["created_at"] <= told["run_started_at"] <= told["run_ended_at"]
    assert told["webhook_sent_at"] == "2023-11-14T22:13:20.000000+00:00"
    await forget(any_redis, found)
    assert keys.delivery(claim.spec.thread_id, claim.spec.run_id) not in await dump(any_redis)
    assert await any_redis.zcard(keys.deliveries()) == 0


@pytest.mark.parametrize("how", ["error", "cancelled", "pending", "rollback", "temporary", "late"])
async def test_no_end_goes_untold(any_redis: Client, how: str) -> None:
    spec = a_spec(kwargs=CALLED, temporary=how == "temporary")
    await admit(any_redis, spec)
    if how in ("pending", "late"):
        await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
        await end_pending(any_redis, spec)
        assert await end_pending(any_redis, spec) is None  # a second end is none
    else:
        claim = await take(any_redis, spec)
        if how in ("cancelled", "rollback"):
            action = CancelAction.ROLLBACK if how == "rollback" else CancelAction.INTERRUPT
            await scripts.cancel(any_redis, spec.thread_id, spec.run_id, action)
            await end(any_redis, claim, Cause.CANCELLED)
        elif how == "error":
            await end(
                any_redis, claim, Cause.FAILED, error=b'{"error":"E"}', output=b'{"__error__":1}'
            )
        else:
            await end(any_redis, claim, output=b'{"n":1}')
    [found] = await due(any_redis)
    told = msgspec.json.decode(msgspec.json.encode(found.payload(0)))
    expected = {"error": "error", "temporary": "success"}.get(how, "interrupted")
    assert told["status"] == expected
    assert told["error"] == ({"error": "E"} if how == "error" else None)
    assert told["values"] == ({"n": 1} if how == "temporary" else None)
    assert (told["run_started_at"] is None) == (how in ("pending", "late"))
    await forget(any_redis, found)


async def test_a_run_without_a_webhook_is_told_to_nobody(any_redis: Client) -> None:
    for kwargs in (b"{}", b'{"webhook":null}', b'{"input":{"webhook":"https://x"}}'):
        claim = await running(any_redis, await admit(any_redis, a_spec(kwargs=kwargs)))
        await end(any_redis, claim)
    assert await due(any_redis) == []


async def test_a_worker_whose_lease_is_gone_notes_nothing(any_redis: Client) -> None:
    stale, held = await overtaken(any_redis, await admit(any_redis, a_spec(kwargs=CALLED)))
    with pytest.raises(FencedError):
        await end(any_redis, stale, output=b'{"of":"the stale one"}')
    assert await due(any_redis) == []
    await end(any_redis, held, output=b"{}")
    await forget(any_redis, *await due(any_redis))


async def test_a_stranded_run_is_told_of(any_redis: Client) -> None:
    spec = await admit(any_redis, a_spec(kwargs=CALLED))
    await make_due(any_redis, spec)
    await any_redis.delete(keys.thread(spec.thread_id), keys.runs(spec.thread_id))
    await try_claim(any_redis, spec)
    await repair.repair_runs(any_redis, lease_ms=1000, stream_ttl=STREAM_TTL)
    [found] = await due(any_redis)
    assert found.record.status == "error"
    assert b"error" in found.error
    await forget(any_redis, found)


# ── Taken and settled ───────────────────────────────────────────────────────────────────────


async def test_of_fifty_workers_one_takes_each(any_redis: Client) -> None:
    specs = [await ended(any_redis) for _ in range(5)]
    taken = await asyncio.gather(*(due(any_redis) for _ in range(CONTENDERS)))
    found = [each for part in taken for each in part]
    assert Counter(each.job for each in found) == dict.fromkeys(map(job, specs), 1)
    assert await due(any_redis) == []  # they are somebody's for now
    await forget(any_redis, *found)


async def test_what_a_dead_worker_took_is_taken_again_and_it_settles_nothing(
    any_redis: Client,
) -> None:
    await ended(any_redis)
    [stale] = await due(any_redis, lease_ms=-1)
    [held] = await due(any_redis)
    before = await dump(any_redis)
    for after_ms in (None, 0, 1000):
        assert not await webhooks.settle(any_redis, stale, after_ms=after_ms)
    assert await dump(any_redis) == before
    assert (held.webhook_id, held.payload(0)) == (stale.webhook_id, stale.payload(0))
    await forget(any_redis, held)
    assert not await webhooks.settle(any_redis, held, after_ms=0)  # it is not brought back
    assert await any_redis.zcard(keys.deliveries()) == 0


async def test_of_fifty_that_settle_the_same_one_does(any_redis: Client) -> None:
    await ended(any_redis)
    [found] = await due(any_redis)
    tries = [webhooks.settle(any_redis, found, after_ms=10_000) for _ in range(CONTENDERS)]
    assert Counter(await asyncio.gather(*tries)) == {True: 1, False: CONTENDERS - 1}
    assert await due(any_redis) == []
    await any_redis.zadd(keys.deliveries(), {found.job: LONG_AGO})
    [again] = await due(any_redis)
    assert again.tries == 1
    await forget(any_redis, again)


async def test_what_nobody_can_read_is_dropped(any_redis: Client) -> None:
    junk: dict[bytes, float] = {b"\xff": LONG_AGO, f"{new_id()}/{new_id()}".encode(): LONG_AGO}
    await any_redis.zadd(keys.deliveries(), junk)
    spec = await ended(any_redis)
    [found] = await due(any_redis)
    assert found.job == job(spec)
    assert await any_redis.zrange(keys.deliveries(), 0, -1) == [found.job.encode()]
    await forget(any_redis, found)
