"""A claim gives one worker the lease of a due run, under a fence that nobody had before."""

import asyncio
from typing import Any

import pytest

from contract.builders import (
    EVENTS_TTL,
    LEASE_MS,
    a_spec,
    admit,
    dump,
    end,
    events_of,
    job,
    make_due,
    overtaken,
    queued,
    record,
    renew,
    running,
    take,
    thread_of,
    try_claim,
    waiting,
    write,
)
from millstream.shared import keys, scripts
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.wire import PROTOCOL

LEASE_GRACE_MS = 20_000


async def test_a_claim_leases_the_run_and_makes_its_thread_busy(any_redis: Client) -> None:
    spec = await admit(any_redis)
    before = await redis_time(any_redis) * 1000
    claim = await take(any_redis, spec)
    after = await redis_time(any_redis) * 1000

    assert (claim.spec, claim.job, claim.cancel) == (spec, job(spec), None)
    assert (claim.fence > 0, claim.attempt, claim.is_first) == (True, 1, True)
    found = await record(any_redis, spec)
    assert found["status"] == "running"
    assert found["control"] == keys.control("w1")
    assert found["created_at"] == str(claim.created_at)
    assert (await thread_of(any_redis, spec))["status"] == "busy"
    lease_ends = (await queued(any_redis))[job(spec)]
    assert before + LEASE_MS - 1 <= lease_ends <= after + LEASE_MS


async def test_an_attempt_begins_with_its_metadata_event_in_a_stream_that_expires(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    spec = claim.spec
    assert await events_of(any_redis, spec) == [
        ("metadata", {"run_id": spec.run_id, "attempt": 1}),
    ]
    ttl = await any_redis.ttl(keys.events(spec.thread_id, spec.run_id))
    assert EVENTS_TTL - 5 <= ttl <= EVENTS_TTL


async def test_a_claimed_run_can_not_be_claimed_while_its_lease_holds(
    any_redis: Client, replies: list[Any]
) -> None:
    claim = await running(any_redis)
    before = await dump(any_redis)
    assert await try_claim(any_redis, claim.spec, "w2") is None
    word, early_ms = replies[-1]
    assert word == b"early"
    assert LEASE_MS - 5_000 < int(early_ms) <= LEASE_MS
    assert await dump(any_redis) == before


async def test_a_lapsed_lease_is_taken_over_with_the_next_attempt_and_a_higher_fence(
    any_redis: Client,
) -> None:
    old, new = await overtaken(any_redis)
    assert (new.fence > old.fence, new.attempt, new.is_first) == (True, old.attempt + 1, False)
    assert (old.index, new.index) == (1, 2)
    assert (new.spec, new.created_at) == (old.spec, old.created_at)
    found = await record(any_redis, new.spec)
    assert (found["status"], found["control"]) == ("running", keys.control("w2"))
    assert [data["attempt"] for _, data in await events_of(any_redis, new.spec)] == [1, 2]
    assert (await queued(any_redis))[new.job] > 1


async def test_a_claim_says_for_how_long_the_run_was_due(any_redis: Client) -> None:
    spec = await admit(any_redis)
    due = await redis_time(any_redis) * 1000 - 5_000
    await any_redis.zadd(keys.queue(spec.queue), {job(spec): due})
    claim = await try_claim(any_redis, spec, token="t1")
    assert claim is not None
    assert (
        4_990 <= claim.waited_ms < 60_000
    )  # the clocks of Redis and of the script differ in rounding
    again = await try_claim(any_redis, spec, token="t1")
    assert again is not None
    assert again.waited_ms == 0  # its answer was lost: the queue holds the lease's end by now


async def test_a_run_handed_back_keeps_its_attempt_but_gets_a_higher_fence(
    any_redis: Client,
) -> None:
    old = await running(any_redis)
    assert await scripts.hand_back(any_redis, old)
    new = await take(any_redis, old.spec, "w2")
    assert (new.fence > old.fence, new.attempt, new.is_first) == (True, old.attempt, False)


async def test_a_run_with_a_cancel_is_held_and_says_so_but_writes_no_event(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
    claim = await take(any_redis, spec)
    assert claim.cancel == "interrupt"
    assert await events_of(any_redis, spec) == []


@pytest.mark.parametrize("situation", ["ended", "deleted", "unknown", "without its thread"])
async def test_a_job_that_nobody_needs_is_taken_out_of_the_queue(
    any_redis: Client, situation: str, replies: list[Any]
) -> None:
    spec = a_spec()
    if situation == "without its thread":
        await admit(any_redis, spec)
        await any_redis.delete(keys.thread(spec.thread_id))
    elif situation != "unknown":
        await end(any_redis, await running(any_redis, spec))
        if situation == "deleted":
            await scripts.delete_run(any_redis, spec.thread_id, spec.run_id)
    before = await dump(any_redis)
    await make_due(any_redis, spec)
    assert await try_claim(any_redis, spec) is None
    assert replies[-1] == [b"gone"]
    assert await queued(any_redis) == {}
    before.pop(keys.queue("default"), None)
    assert await dump(any_redis) == before
    await any_redis.delete(
        keys.run(spec.thread_id, spec.run_id), keys.runs(spec.thread_id)
    )  # of the thread that this test took away


async def test_a_job_that_is_not_queued_is_not_claimed(
    any_redis: Client, replies: list[Any]
) -> None:
    first = await admit(any_redis)
    second = await admit(any_redis, a_spec(first.thread_id))
    before = await dump(any_redis)
    assert await try_claim(any_redis, second) is None
    assert replies[-1] == [b"gone"]
    assert await dump(any_redis) == before


async def test_a_run_that_meets_a_busy_thread_waits_once_and_only_once(
    any_redis: Client, replies: list[Any]
) -> None:
    first = await running(any_redis)
    deferred = await admit(any_redis, a_spec(first.spec.thread_id), delay_ms=60_000)
    await make_due(any_redis, deferred)
    for _ in range(3):
        assert await try_claim(any_redis, deferred) is None
    assert replies[-3:] == [[b"waits"], [b"gone"], [b"gone"]]
    assert await waiting(any_redis, first.spec.thread_id) == [job(deferred)]
    assert (await thread_of(any_redis, deferred))["active"] == first.spec.run_id


async def test_of_fifty_contenders_exactly_one_claims(any_redis: Client) -> None:
    spec = await admit(any_redis)
    claims = await asyncio.gather(*(try_claim(any_redis, spec, f"w{n}") for n in range(50)))
    [winner] = [(n, claim) for n, claim in enumerate(claims) if claim is not None]
    found = await record(any_redis, spec)
    assert found["attempt"] == "1"
    assert found["control"] == keys.control(f"w{winner[0]}")
    assert len(await events_of(any_redis, spec)) == 1


async def test_of_fifty_contenders_exactly_one_takes_over_a_lapsed_lease(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    await make_due(any_redis, claim.spec)
    claims = await asyncio.gather(*(try_claim(any_redis, claim.spec) for _ in range(50)))
    assert [c.attempt for c in claims if c is not None] == [2]


async def test_fifty_due_runs_of_one_thread_never_have_two_claimed(any_redis: Client) -> None:
    first = a_spec()
    specs = [first, *(a_spec(first.thread_id) for _ in range(49))]
    for spec in specs:
        await admit(any_redis, spec, delay_ms=60_000)
        await make_due(any_redis, spec)
    claims = await asyncio.gather(*(try_claim(any_redis, spec) for spec in specs))
    [winner] = [claim for claim in claims if claim is not None]
    line = await waiting(any_redis, first.thread_id)
    assert sorted([winner.job, *line]) == sorted(map(job, specs))
    assert list(await queued(any_redis)) == [winner.job]


async def test_a_claim_sent_again_after_a_lost_reply_has_the_same_answer(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    claim = await try_claim(any_redis, spec, token="t1")
    before = await dump(any_redis)
    for lapsed in (False, True):  # before the answer came: nobody has used it, so it begins anew
        if lapsed:
            await make_due(any_redis, spec)
        now = await redis_time(any_redis) * 1000
        assert await try_claim(any_redis, spec, token="t1", lease_grace_ms=LEASE_GRACE_MS) == claim
        assert (await queued(any_redis))[job(spec)] > now + LEASE_MS - 1
        assert await try_claim(any_redis, spec, token="t2") is None
        after = await dump(any_redis)
        after[keys.queue("default")] = before[keys.queue("default")]
        assert after == before


async def test_after_an_outage_a_lapsed_lease_is_left_to_its_holder_for_a_while(
    any_redis: Client, replies: list[Any]
) -> None:
    claim = await running(any_redis)
    for _ in range(2):  # a holder that has renewed is spared in the next outage too
        await make_due(any_redis, claim.spec)
        before, now = await dump(any_redis), await redis_time(any_redis) * 1000
        contenders = (
            try_claim(any_redis, claim.spec, lease_grace_ms=LEASE_GRACE_MS) for _ in range(50)
        )
        assert set(await asyncio.gather(*contenders)) == {None}
        assert {reply[0] for reply in replies[-50:]} == {b"early"}
        lapses = (await queued(any_redis))[claim.job]
        assert now + LEASE_GRACE_MS - 1 <= lapses <= now + LEASE_GRACE_MS + 5_000

        assert await renew(any_redis, claim) == "held"
        assert (await queued(any_redis))[claim.job] > now + LEASE_MS - 1
        after = await dump(any_redis)
        after[keys.queue("default")] = before[keys.queue("default")]
        assert after == before
    assert await write(any_redis, claim, 1, "values", "{}")


async def test_a_holder_that_is_spared_and_says_nothing_is_replaced_and_fenced_off(
    any_redis: Client,
) -> None:
    """However often the others hear of an outage: one with a bad connection could hold all up."""
    old = await running(any_redis)
    await make_due(any_redis, old.spec)
    assert await try_claim(any_redis, old.spec, lease_grace_ms=LEASE_GRACE_MS) is None
    await make_due(any_redis, old.spec)
    contenders = (try_claim(any_redis, old.spec, lease_grace_ms=LEASE_GRACE_MS) for _ in range(50))
    claims = await asyncio.gather(*contenders)
    assert [c.attempt for c in claims if c is not None] == [2]
    before = await dump(any_redis)
    assert await renew(any_redis, old) == "lost"
    assert not await write(any_redis, old, 1, "values", "{}")
    assert not await scripts.hand_back(any_redis, old)
    assert await dump(any_redis) == before
    await make_due(any_redis, old.spec)
    assert (
        await try_claim(any_redis, old.spec, lease_grace_ms=LEASE_GRACE_MS) is None
    )  # the new one is too


async def test_after_an_outage_a_run_that_nobody_holds_is_claimed_at_once(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    claim = await try_claim(any_redis, spec, lease_grace_ms=LEASE_GRACE_MS)
    assert claim is not None
    assert await scripts.hand_back(any_redis, claim)
    assert await try_claim(any_redis, spec, lease_grace_ms=LEASE_GRACE_MS) is not None


async def test_a_run_that_a_worker_can_not_execute_is_left_to_others(
    any_redis: Client, replies: list[Any]
) -> None:
    spec = await admit(any_redis)
    pauses = []
    for age in (0, 0, 5, 60, 3600):
        await make_due(any_redis, spec)
        if age:
            run = keys.run(spec.thread_id, spec.run_id)
            since = int((await redis_time(any_redis) - age) * 1000)
            await any_redis.hset(run, "unserved_since", str(since))  # type: ignore[misc]
        assert await try_claim(any_redis, spec, graphs=["other"]) is None
        word, pause = replies[-1]
        assert word == b"unserved"
        now = await redis_time(any_redis) * 1000
        # Nobody looks at it for so long: it must not keep the workers from others.
        assert now + pause - 1_000 < (await queued(any_redis))[job(spec)] <= now + pause + 1
        assert (await record(any_redis, spec))["status"] == "pending"
        assert list(await queued(any_redis)) == [job(spec)]
        pauses.append(pause)
    assert pauses[:2] == [100, 100]
    assert [pause // 100 for pause in pauses[2:]] == [5, 60, 600]
    await make_due(any_redis, spec)
    claim = await try_claim(any_redis, spec, graphs=["other", spec.graph_id])
    assert claim is not None
    assert (claim.attempt, claim.is_first) == (1, True)


async def test_a_cancelled_run_is_ended_by_any_worker(any_redis: Client) -> None:
    spec = await admit(any_redis)
    await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
    claim = await try_claim(any_redis, spec, graphs=[])
    assert claim is not None
    assert claim.cancel == "interrupt"


async def test_a_run_of_a_newer_protocol_is_left_to_newer_workers(any_redis: Client) -> None:
    spec = await admit(any_redis, a_spec(protocol=PROTOCOL + 1))
    assert await try_claim(any_redis, spec) is None
    assert (await record(any_redis, spec))["status"] == "pending"
    older = await admit(any_redis, a_spec(protocol=PROTOCOL - 1))
    assert await try_claim(any_redis, older) is not None


async def test_a_run_admitted_before_there_were_these_marks_is_claimed(any_redis: Client) -> None:
    spec = await admit(any_redis)
    run = keys.run(spec.thread_id, spec.run_id)
    await any_redis.hdel(run, "graph", "protocol", "queue")  # type: ignore[misc]
    assert await try_claim(any_redis, spec) is not None


async def test_a_spec_that_can_not_be_read_is_claimed_to_be_ended(any_redis: Client) -> None:
    spec = await admit(any_redis)
    run = keys.run(spec.thread_id, spec.run_id)
    await any_redis.hset(run, "spec", "\x01 broken")  # type: ignore[misc]
    claim = await take(any_redis, spec)
    assert (claim.spec.run_id, claim.spec.thread_id) == (spec.run_id, spec.thread_id)
    assert await end(any_redis, claim, Cause.FAILED) == "error"


async def test_fences_rise_though_redis_forgot_a_claim(any_redis: Client) -> None:
    """After a crash Redis may be as it was before the claim; its holder must stay fenced off."""
    spec = await admit(any_redis)
    run = keys.run(spec.thread_id, spec.run_id)
    before = await any_redis.hgetall(run)  # type: ignore[misc]
    forgotten = await take(any_redis, spec)
    await any_redis.delete(run)
    await any_redis.hset(run, mapping=before)  # type: ignore[misc]
    await make_due(any_redis, spec)
    assert (await take(any_redis, spec, "w2")).fence > forgotten.fence
    assert not await write(any_redis, forgotten, 1, "values", "{}")
