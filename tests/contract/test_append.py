"""Only the holder of the lease appends events, and each batch is stored once."""

import asyncio

import pytest

from contract.builders import (
    a_spec,
    dump,
    end,
    events_of,
    overtaken,
    running,
    take,
    write,
)
from harness.waiting import until
from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.scripts import Batch


async def test_events_are_stored_in_order_byte_for_byte(any_redis: Client) -> None:
    claim = await running(any_redis)
    assert await write(any_redis, claim, 1, "values", b'{"a": 1}', "custom", '"\u00fc"')
    assert await write(any_redis, claim, 2, "messages/partial", "[]")
    key = keys.events(claim.spec.thread_id, claim.spec.run_id)
    entries = [fields for _, fields in await any_redis.xrange(key)]
    assert entries[1:] == [
        {b"values": b'{"a": 1}'},
        {b"custom": '"\u00fc"'.encode()},
        {b"messages/partial": b"[]"},
    ]


async def test_a_repeated_batch_is_written_once(any_redis: Client) -> None:
    claim = await running(any_redis)
    await write(any_redis, claim, 1, "values", "1")
    before = await dump(any_redis)
    assert await write(any_redis, claim, 1, "values", "1")
    assert await dump(any_redis) == before


async def test_a_batch_number_is_new_under_the_next_fence(any_redis: Client) -> None:
    old = await running(any_redis)
    await write(any_redis, old, 1, "values", "1")
    await scripts.hand_back(any_redis, old)
    new = await take(any_redis, old.spec)
    assert await write(any_redis, new, 1, "values", "2")
    values = [data for name, data in await events_of(any_redis, old.spec) if name == "values"]
    assert values == [1, 2]


async def test_an_append_keeps_the_streams_ttl(any_redis: Client) -> None:
    claim = await running(any_redis)
    key = keys.events(claim.spec.thread_id, claim.spec.run_id)
    await write(any_redis, claim, 1, "values", "1")
    assert await any_redis.ttl(key) > 0


async def test_a_stream_is_trimmed_to_about_its_limit(any_redis: Client) -> None:
    claim = await running(any_redis)
    parts = [part for n in range(1000) for part in ("values", str(n))]
    await scripts.append(any_redis, [Batch(claim, 1, parts)], max_events=200)
    stored = [data for _, data in await events_of(any_redis, claim.spec)]
    assert 200 <= len(stored) <= 400
    assert stored == list(range(1000 - len(stored), 1000))


async def test_one_call_writes_many_runs_and_returns_a_result_for_each(
    any_redis: Client,
) -> None:
    claims = [await running(any_redis) for _ in range(3)]
    lost, _ = await overtaken(any_redis)
    batches = [Batch(claim, 1, ["values", str(n)]) for n, claim in enumerate([*claims, lost])]
    await any_redis.script_flush()
    assert await scripts.append(any_redis, batches, max_events=500) == [2, 2, 2, None]
    for n, claim in enumerate(claims):
        assert (await events_of(any_redis, claim.spec))[1:] == [("values", n)]


async def test_a_single_batch_survives_the_loss_of_the_scripts(any_redis: Client) -> None:
    claim = await running(any_redis)
    await any_redis.script_flush()
    assert await write(any_redis, claim, 1, "values", "1")
    assert len(await events_of(any_redis, claim.spec)) == 2


async def test_an_append_sends_a_notification(any_redis: Client) -> None:
    claim = await running(any_redis)
    async with any_redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        key = keys.events(claim.spec.thread_id, claim.spec.run_id)
        await pubsub.subscribe(key)
        await pubsub.get_message(timeout=1)
        await write(any_redis, claim, 1, "values", "1")
        message = await until(lambda: pubsub.get_message(timeout=0.1), what="a doorbell")
        assert message["channel"] == key.encode()


@pytest.mark.parametrize("situation", ["overtaken", "ended", "handed back", "unknown"])
async def test_a_worker_that_lost_its_run_writes_nothing(any_redis: Client, situation: str) -> None:
    if situation == "overtaken":
        claim, _ = await overtaken(any_redis)
    else:
        claim = await running(any_redis)
    if situation == "ended":
        await end(any_redis, claim)
    elif situation == "handed back":
        await scripts.hand_back(any_redis, claim)
    elif situation == "unknown":
        await end(any_redis, claim)
        await scripts.delete_run(any_redis, claim.spec.thread_id, claim.spec.run_id)
    before = await dump(any_redis)
    assert not await write(any_redis, claim, 9, "values", "1")
    assert await dump(any_redis) == before


async def test_one_of_fifty_repeats_is_written(any_redis: Client) -> None:
    claim = await running(any_redis)
    written = await asyncio.gather(*(write(any_redis, claim, 1, "values", "1") for _ in range(50)))
    assert all(written)
    assert len(await events_of(any_redis, claim.spec)) == 2


async def test_fifty_concurrent_runs_do_not_mix(any_redis: Client) -> None:
    claims = [await running(any_redis, a_spec()) for _ in range(50)]
    await asyncio.gather(
        *(write(any_redis, claim, 1, "values", str(n)) for n, claim in enumerate(claims))
    )
    for n, claim in enumerate(claims):
        assert (await events_of(any_redis, claim.spec))[1:] == [("values", n)]


async def test_a_late_batch_changes_nothing(any_redis: Client) -> None:
    """A repeated batch may reach Redis after the next batch, over a slow connection."""
    claim = await running(any_redis)
    for number in (1, 2, 1, 2, 3, 1):
        assert await write(any_redis, claim, number, "values", str(number))
    values = [data for name, data in await events_of(any_redis, claim.spec) if name == "values"]
    assert values == [1, 2, 3]


@pytest.mark.parametrize("case", ["nothing", "an event", "the end"])
async def test_no_event_id_is_reused_although_redis_lost_events(
    real_redis: Client, case: str
) -> None:
    """A client that received the lost events resumes after their ids, and must miss nothing."""
    claim = await running(real_redis)
    run = keys.run(claim.spec.thread_id, claim.spec.run_id)
    events = keys.events(claim.spec.thread_id, claim.spec.run_id)
    assert claim.index == 1
    await scripts.append(real_redis, [Batch(claim, 1, ["custom", "1"])], max_events=50)
    stored = [(key, await real_redis.dump(key)) for key in (run, events)]
    [seen] = await scripts.append(
        real_redis, [Batch(claim, 2, ["custom", "2", "custom", "3"], 2)], max_events=50
    )
    assert seen == 4
    for key, value in stored:
        await real_redis.restore(key, 0, value, replace=True)

    if case == "an event":
        batch = Batch(claim, 3, ["custom", "4"], seen)
        for _ in range(2):  # a repeat has the same result
            assert await scripts.append(real_redis, [batch], max_events=50) == [5]
    if case == "the end":
        await end(real_redis, claim, events=["custom", "4"], after=seen)
    ids = [(i.decode(), next(iter(e.values()))) for i, e in await real_redis.xrange(events)]
    assert ids[1] == ("1-2", b"1")
    assert [i for i, _ in ids[2:]] == {
        "nothing": [], "an event": ["1-5"], "the end": ["1-5", "1-6"],
    }[case]  # fmt: skip
