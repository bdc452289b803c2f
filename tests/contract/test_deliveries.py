"""Webhook deliveries: each end stores one, one worker takes it, and only that worker settles it."""

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
    """Ends a run with a webhook."""
    claim = await running(redis, await admit(redis, a_spec(kwargs=CALLED, **changes)))
    await end(redis, claim, output=b'{"n":1}')
    return claim.spec


async def forget(redis: Client, *taken: Delivery) -> None:
    for each in taken:
        assert await webhooks.settle(redis, each, after_ms=None)


async def test_the_end_of_a_run_stores_a_delivery_with_its_payload(any_redis: Client) -> None:
    claim = await running(any_redis, await admit(any_redis, a_spec(kwargs=CALLED)))
    assert await due(any_redis) == []
    await end(any_redis, claim, output=b'{"n":1}')
    [delivery] = await due(any_redis)
    assert (delivery.job, delivery.url, delivery.tries) == (job(claim.spec), URL, 0)
    assert delivery.webhook_id == claim.spec.run_id
    payload = msgspec.json.decode(msgspec.json.encode(delivery.payload(1_700_000_000_000_000)))
    view = await runs.get_run(any_redis, claim.spec.thread_id, claim.spec.run_id)
    assert payload["status"] == view.status == "success"
    assert (payload["values"], payload["error"]) == ({"n": 1}, None)
    assert (payload["run_id"], payload["kwargs"]) == (
        claim.spec.run_id,
        {"input": {"a": 1}, "webhook": URL},
    )
    assert payload["created_at"] <= payload["run_started_at"] <= payload["run_ended_at"]
    assert payload["webhook_sent_at"] == "2023-11-14T22:13:20.000000+00:00"
    await forget(any_redis, delivery)
    assert keys.delivery(claim.spec.thread_id, claim.spec.run_id) not in await dump(any_redis)
    assert await any_redis.zcard(keys.deliveries()) == 0


@pytest.mark.parametrize("how", ["error", "cancelled", "pending", "rollback", "temporary", "late"])
async def test_every_end_stores_a_delivery(any_redis: Client, how: str) -> None:
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
    [delivery] = await due(any_redis)
    payload = msgspec.json.decode(msgspec.json.encode(delivery.payload(0)))
    expected = {"error": "error", "temporary": "success"}.get(how, "interrupted")
    assert payload["status"] == expected
    assert payload["error"] == ({"error": "E"} if how == "error" else None)
    assert payload["values"] == ({"n": 1} if how == "temporary" else None)
    assert (payload["run_started_at"] is None) == (how in ("pending", "late"))
    await forget(any_redis, delivery)


async def test_a_run_without_a_webhook_has_no_delivery(any_redis: Client) -> None:
    for kwargs in (b"{}", b'{"webhook":null}', b'{"input":{"webhook":"https://x"}}'):
        claim = await running(any_redis, await admit(any_redis, a_spec(kwargs=kwargs)))
        await end(any_redis, claim)
    assert await due(any_redis) == []


async def test_a_stale_worker_stores_no_delivery(any_redis: Client) -> None:
    stale, held = await overtaken(any_redis, await admit(any_redis, a_spec(kwargs=CALLED)))
    with pytest.raises(FencedError):
        await end(any_redis, stale, output=b'{"of":"the stale one"}')
    assert await due(any_redis) == []
    await end(any_redis, held, output=b"{}")
    await forget(any_redis, *await due(any_redis))


async def test_a_repaired_run_has_a_delivery(any_redis: Client) -> None:
    spec = await admit(any_redis, a_spec(kwargs=CALLED))
    await make_due(any_redis, spec)
    await any_redis.delete(keys.thread(spec.thread_id), keys.runs(spec.thread_id))
    await try_claim(any_redis, spec)
    await repair.repair_runs(any_redis, lease_ms=1000, stream_ttl=STREAM_TTL)
    [delivery] = await due(any_redis)
    assert delivery.record.status == "error"
    assert b"error" in delivery.error
    await forget(any_redis, delivery)


# ── Taken and settled ───────────────────────────────────────────────────────────────────────


async def test_each_delivery_is_taken_by_one_of_fifty_workers(any_redis: Client) -> None:
    specs = [await ended(any_redis) for _ in range(5)]
    taken = await asyncio.gather(*(due(any_redis) for _ in range(CONTENDERS)))
    delivery = [each for part in taken for each in part]
    assert Counter(each.job for each in delivery) == dict.fromkeys(map(job, specs), 1)
    assert await due(any_redis) == []  # they are taken
    await forget(any_redis, *delivery)


async def test_a_delivery_of_a_dead_worker_is_taken_again_and_its_old_claim_is_void(
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
    assert not await webhooks.settle(any_redis, held, after_ms=0)  # it is not restored
    assert await any_redis.zcard(keys.deliveries()) == 0


async def test_one_of_fifty_settles_a_delivery(any_redis: Client) -> None:
    await ended(any_redis)
    [delivery] = await due(any_redis)
    tries = [webhooks.settle(any_redis, delivery, after_ms=10_000) for _ in range(CONTENDERS)]
    assert Counter(await asyncio.gather(*tries)) == {True: 1, False: CONTENDERS - 1}
    assert await due(any_redis) == []
    await any_redis.zadd(keys.deliveries(), {delivery.job: LONG_AGO})
    [again] = await due(any_redis)
    assert again.tries == 1
    await forget(any_redis, again)


async def test_an_unreadable_delivery_is_dropped(any_redis: Client) -> None:
    junk: dict[bytes, float] = {b"\xff": LONG_AGO, f"{new_id()}/{new_id()}".encode(): LONG_AGO}
    await any_redis.zadd(keys.deliveries(), junk)
    spec = await ended(any_redis)
    [delivery] = await due(any_redis)
    assert delivery.job == job(spec)
    assert await any_redis.zrange(keys.deliveries(), 0, -1) == [delivery.job.encode()]
    await forget(any_redis, delivery)
