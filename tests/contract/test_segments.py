"""A thread's segments: each run and each update once, in the order of their claims."""

import asyncio

from contract.builders import (
    a_spec,
    admit,
    end,
    end_pending,
    new_id,
    overtaken,
    running,
    take,
    try_claim,
)  # fmt: skip
from contract.test_store_state import a_thread, store
from millstream.shared import keys, scripts, threads
from millstream.shared.redis import Client
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Batch

CONTENDERS = 50


async def segments(redis: Client, thread: str) -> list[str]:
    return [member.decode() for member in await redis.zrange(keys.segments(thread), 0, -1)]


async def test_segments_are_numbered_in_the_order_of_claims(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    first, second, third = [await admit(any_redis, a_spec(thread)) for _ in range(3)]
    assert await segments(any_redis, thread) == []
    claims = await asyncio.gather(
        *(try_claim(any_redis, first, f"w{number}") for number in range(CONTENDERS))
    )
    [claim] = [claim for claim in claims if claim is not None]
    assert await segments(any_redis, thread) == [first.run_id]
    await scripts.cancel(any_redis, thread, third.run_id, CancelAction.INTERRUPT)
    await asyncio.gather(*(end_pending(any_redis, third) for _ in range(CONTENDERS)))
    await end(any_redis, claim)
    await end(any_redis, await take(any_redis, second))
    assert await store(any_redis, thread, 2) == "stored"
    assert (await segments(any_redis, thread))[:3] == [first.run_id, third.run_id, second.run_id]
    [update] = (await segments(any_redis, thread))[3:]
    entries = await any_redis.xrange(keys.events(thread, update))
    assert [next(iter(fields)) for _, fields in entries] == [b"state_update", b"end"]
    numbers = await any_redis.zrange(keys.segments(thread), 0, -1, withscores=True)
    assert [number for _, number in numbers] == [1, 2, 3, 4]
    for segment, number in numbers:
        ids = [i for i, _ in await any_redis.xrange(keys.events(thread, segment.decode()))]
        assert ids == [b"%d-%d" % (number, index) for index in range(1, len(ids) + 1)]
        assert ids
    await scripts.delete_run(any_redis, thread, third.run_id)
    assert (await segments(any_redis, thread)) == [first.run_id, second.run_id, update]


async def test_a_run_claimed_again_keeps_its_segment(any_redis: Client) -> None:
    stale, held = await overtaken(any_redis)
    thread = held.spec.thread_id
    before = await any_redis.zrange(keys.segments(thread), 0, -1, withscores=True)
    assert [member.decode() for member, _ in before] == [stale.spec.run_id]
    await scripts.append(any_redis, [Batch(stale, 1, ["late", b"{}"])], max_events=100)
    await scripts.append(any_redis, [Batch(held, 1, ["values", b"{}"])], max_events=100)
    await end(any_redis, held)
    assert await any_redis.zrange(keys.segments(thread), 0, -1, withscores=True) == before
    entries = await any_redis.xrange(keys.events(thread, stale.spec.run_id))
    assert [(i, next(iter(fields))) for i, fields in entries] == [
        (b"1-1", b"metadata"), (b"1-2", b"metadata"), (b"1-3", b"values"), (b"1-4", b"end"),
    ]  # fmt: skip


async def test_segments_are_deleted_with_the_thread(any_redis: Client) -> None:
    other = await running(any_redis)
    await end(any_redis, other)
    await threads.retire_thread(any_redis, other.spec.thread_id)
    assert await threads.delete_thread(any_redis, other.spec.thread_id)
    temporary = await running(any_redis, await admit(any_redis, a_spec(temporary=True)))
    await end(any_redis, temporary)
    lost = await running(any_redis, await admit(any_redis, a_spec(new_id())))
    await any_redis.delete(keys.thread(lost.spec.thread_id), keys.runs(lost.spec.thread_id))
    await end(any_redis, lost)
    for claim in (other, temporary, lost):
        assert await segments(any_redis, claim.spec.thread_id) == []
    await any_redis.delete(keys.run(lost.spec.thread_id, lost.spec.run_id))
