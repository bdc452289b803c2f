"""A claim gives one worker the lease of a due run, under a new fence."""

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
from millstream.shared.scripts import Claim
from millstream.shared.wire import PROTOCOL

LEASE_GRACE_MS = 20_000


async def test_a_claim_leases_the_run_and_makes_its_thread_busy(any_redis: Client) -> None:
    spec = await admit(any_redis)
    before = await redis_time(any_redis) * 1000
    claim = await take(any_redis, spec)
    after = await redis_time(any_redis) * 1000

    assert (claim.spec, claim.job, claim.cancel) == (spec, job(spec), None)
    assert (claim.fence > 0, claim.attempt, claim.is_first) == (True, 1, True)
    stored = await record(any_redis, spec)
    assert stored["status"] == "running"
    assert stored["control"] == keys.control("w1")
    assert stored["created_at"] == str(claim.created_at)
    assert (await thread_of(any_redis, spec))["status"] == "busy"
    lease_ends = (await queued(any_redis))[job(spec)]
    assert before + LEASE_MS - 1 <= lease_ends <= after + LEASE_MS


async def test_an_attempt_starts_with_a_metadata_event_in_a_stream_with_a_ttl(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    spec = claim.spec
    assert await events_of(any_redis, spec) == [
        ("metadata", {"run_id": spec.run_id, "attempt": 1}),
    ]
    ttl = await any_redis.ttl(keys.events(spec.thread_id, spec.run_id))
    assert EVENTS_TTL - 5 <= ttl <= EVENTS_TTL


async def test_a_leased_run_can_not_be_claimed(any_redis: Client, replies: list[Any]) -> None:
    claim = await running(any_redis)
    before = await dump(any_redis)
    assert await try_claim(any_redis, claim.spec, "w2") is None
    reply, early_ms = replies[-1]
    assert reply == b"early"
    assert LEASE_MS - 5_000 < int(early_ms) <= LEASE_MS
    assert await dump(any_redis) == before


async def test_a_claim_after_a_lapsed_lease_has_the_next_attempt_and_a_higher_fence(
    any_redis: Client,
) -> None:
    old, new = await overtaken(any_redis)
    assert (new.fence > old.fence, new.attempt, new.is_first) == (True, old.attempt + 1, False)
    assert (old.index, new.index) == (1, 2)
    assert (new.spec, new.created_at) == (old.spec, old.created_at)
    stored = await record(any_redis, new.spec)
    assert (stored["status"], stored["control"]) == ("running", keys.control("w2"))
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
    assert again.waited_ms == 0  # its reply was lost: the queue has the end of the lease by now


async def test_a_claim_says_how_the_attempt_before_has_ended(any_redis: Client) -> None:
    spec = await admit(any_redis)
    reasons = []

    async def claim(token: str) -> Claim:
        await make_due(any_redis, spec)
        first = await try_claim(any_redis, spec, token=token)
        again = await try_claim(any_redis, spec, token=token)  # the reply was lost
        assert first is not None
        assert again is not None
        assert first.reason == again.reason
        reasons.append(first.reason)
        return first

    await claim("t1")
    await scripts.hand_back(any_redis, await claim("t2"))
    await scripts.hand_back(any_redis, await claim("t3"), crash="exit 7")
    await scripts.mark_alone(any_redis, await claim("t4"))
    await claim("t5")
    assert reasons == ["first", "lapsed", "handed_back", "crashed", "lapsed"]


async def test_a_claim_after_a_hand_back_has_the_same_attempt_and_a_higher_fence(
    any_redis: Client,
) -> None:
    old = await running(any_redis)
    assert await scripts.hand_back(any_redis, old)
    new = await take(any_redis, old.spec, "w2")
    assert (new.fence > old.fence, new.attempt, new.is_first) == (True, old.attempt, False)


async def test_a_claim_of_a_cancelled_run_returns_the_cancel_and_writes_no_event(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
    claim = await take(any_redis, spec)
    assert claim.cancel == "interrupt"
    assert await events_of(any_redis, spec) == []


@pytest.mark.parametrize("situation", ["ended", "deleted", "unknown", "without its thread"])
async def test_an_obsolete_job_is_removed_from_the_queue(
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
    assert await any_redis.zcard(keys.backlog("default")) == 0
    before.pop(keys.queue("default"), None)
    before.pop(keys.backlog("default"), None)
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


async def test_a_due_run_of_a_busy_thread_joins_its_fifo_once(
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


async def test_one_of_fifty_contenders_claims(any_redis: Client) -> None:
    spec = await admit(any_redis)
    claims = await asyncio.gather(*(try_claim(any_redis, spec, f"w{n}") for n in range(50)))
    [winner] = [(n, claim) for n, claim in enumerate(claims) if claim is not None]
    stored = await record(any_redis, spec)
    assert stored["attempt"] == "1"
    assert stored["control"] == keys.control(f"w{winner[0]}")
    assert len(await events_of(any_redis, spec)) == 1


async def test_one_of_fifty_contenders_claims_a_lapsed_run(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    await make_due(any_redis, claim.spec)
    claims = await asyncio.gather(*(try_claim(any_redis, claim.spec) for _ in range(50)))
    assert [c.attempt for c in claims if c is not None] == [2]


async def test_of_fifty_due_runs_of_one_thread_one_is_claimed_at_a_time(any_redis: Client) -> None:
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


async def test_a_claim_repeated_after_a_lost_reply_has_the_same_result(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    claim = await try_claim(any_redis, spec, token="t1")
    before = await dump(any_redis)
    for lapsed in (
        False,
        True,
    ):  # before the reply arrived: no worker used the lease, so it starts again
        if lapsed:
            await make_due(any_redis, spec)
        now = await redis_time(any_redis) * 1000
        assert await try_claim(any_redis, spec, token="t1", lease_grace_ms=LEASE_GRACE_MS) == claim
        assert (await queued(any_redis))[job(spec)] > now + LEASE_MS - 1
        assert await try_claim(any_redis, spec, token="t2") is None
        after = await dump(any_redis)
        after[keys.queue("default")] = before[keys.queue("default")]
        assert after == before


async def test_after_an_outage_the_holder_of_a_lapsed_lease_gets_a_grace(
    any_redis: Client, replies: list[Any]
) -> None:
    claim = await running(any_redis)
    for _ in range(2):  # a holder that has renewed gets a grace in the next outage too
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


async def test_a_holder_that_does_not_renew_within_the_grace_is_replaced_and_fenced(
    any_redis: Client,
) -> None:
    """Repeated outages give no further grace: else one bad connection could block a run for ever."""
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


async def test_after_an_outage_a_pending_run_is_claimed_at_once(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis)
    claim = await try_claim(any_redis, spec, lease_grace_ms=LEASE_GRACE_MS)
    assert claim is not None
    assert await scripts.hand_back(any_redis, claim)
    assert await try_claim(any_redis, spec, lease_grace_ms=LEASE_GRACE_MS) is not None


async def test_a_worker_does_not_claim_a_run_of_a_graph_that_it_does_not_serve(
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
        reply, pause = replies[-1]
        assert reply == b"unserved"
        now = await redis_time(any_redis) * 1000
        # It is not retried until then, so that the workers can claim others.
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


async def test_any_worker_ends_a_cancelled_run(any_redis: Client) -> None:
    spec = await admit(any_redis)
    await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
    claim = await try_claim(any_redis, spec, graphs=[])
    assert claim is not None
    assert claim.cancel == "interrupt"


async def test_a_worker_does_not_claim_a_run_of_a_newer_protocol(any_redis: Client) -> None:
    spec = await admit(any_redis, a_spec(protocol=PROTOCOL + 1))
    assert await try_claim(any_redis, spec) is None
    assert (await record(any_redis, spec))["status"] == "pending"
    older = await admit(any_redis, a_spec(protocol=PROTOCOL - 1))
    assert await try_claim(any_redis, older) is not None


async def test_a_run_without_graph_and_protocol_fields_is_claimed(any_redis: Client) -> None:
    spec = await admit(any_redis)
    run = keys.run(spec.thread_id, spec.run_id)
    await any_redis.hdel(run, "graph", "protocol", "queue")  # type: ignore[misc]
    assert await try_claim(any_redis, spec) is not None


async def test_a_run_with_an_unreadable_spec_is_claimed_and_ended(any_redis: Client) -> None:
    spec = await admit(any_redis)
    run = keys.run(spec.thread_id, spec.run_id)
    await any_redis.hset(run, "spec", "\x01 broken")  # type: ignore[misc]
    claim = await take(any_redis, spec)
    assert (claim.spec.run_id, claim.spec.thread_id) == (spec.run_id, spec.thread_id)
    assert await end(any_redis, claim, Cause.FAILED) == "error"


async def test_fences_rise_although_redis_lost_a_claim(any_redis: Client) -> None:
    """After a crash, Redis may have the state before the claim; the holder must stay fenced."""
    spec = await admit(any_redis)
    run = keys.run(spec.thread_id, spec.run_id)
    before = await any_redis.hgetall(run)  # type: ignore[misc]
    forgotten = await take(any_redis, spec)
    await any_redis.delete(run)
    await any_redis.hset(run, mapping=before)  # type: ignore[misc]
    await make_due(any_redis, spec)
    assert (await take(any_redis, spec, "w2")).fence > forgotten.fence
    assert not await write(any_redis, forgotten, 1, "values", "{}")
