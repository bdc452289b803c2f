"""Each situation of a run, made with the real scripts, has its reason."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from contract.builders import (
    LEASE_MS,
    STREAM_TTL,
    a_spec,
    admit,
    dump,
    end,
    end_pending,
    job,
    make_due,
    new_id,
    running,
    take,
    try_claim,
)
from harness.workers import report_worker
from millstream.shared import keys, scripts
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.runs.explain import Explanation, explain
from millstream.shared.runs.reasons import Reason
from millstream.shared.runs.situation import read_situation
from millstream.shared.scripts import Claim
from millstream.shared.wire import PROTOCOL, RunSpec, SlotRecord

Scene = Callable[[Client], Awaitable[RunSpec]]


@pytest.fixture
async def redis(any_redis: Client) -> Client:
    """A Redis with one worker of the queue `default`, which serves the graph `echo`."""
    await worker(any_redis)
    return any_redis


async def worker(redis: Client, name: str = "w1", **fields: Any) -> None:
    known: dict[str, Any] = {
        "graphs": ["echo"], "slots": 10, "version": "1", "protocol": PROTOCOL, "host": "h1",
    }  # fmt: skip
    await report_worker(redis, name, "default", **(known | fields))


async def explained(redis: Client, spec: RunSpec) -> Explanation:
    before = await dump(redis)
    situation = await read_situation(redis, spec.thread_id, spec.run_id)
    assert situation is not None
    assert await dump(redis) == before  # a read changes nothing
    explanation = explain(situation)
    for text in (explanation.message, explanation.next_step):
        assert "{" not in text
    return explanation


async def lapsed(redis: Client, claim: Claim, seconds: int = 5) -> None:
    """Makes the lease end some seconds ago."""
    ended = int(await redis_time(redis) * 1000) - seconds * 1000
    await redis.zadd(keys.queue("default"), {claim.job: ended})


# ── One scene for each reason ───────────────────────────────────────────────────────────────


async def deferred(redis: Client) -> RunSpec:
    return await admit(redis, delay_ms=90_000)


async def waits_for_run(redis: Client) -> RunSpec:
    first = await running(redis)
    return await admit(redis, a_spec(first.spec.thread_id))


async def queued(redis: Client) -> RunSpec:
    return await admit(redis)


async def queue_paused(redis: Client) -> RunSpec:
    await scripts.pause_queue(redis, "default", by="op@host", reason="the model is down")
    return await admit(redis)


async def no_worker(redis: Client) -> RunSpec:
    await redis.delete(keys.queue_workers("default"))
    return await admit(redis)


async def unserved(redis: Client) -> RunSpec:
    spec = await admit(redis, a_spec(graph_id="other"))
    assert await try_claim(redis, spec, graphs=["echo"]) is None
    return spec


async def served_again(redis: Client) -> RunSpec:
    spec = await admit(redis)
    assert await try_claim(redis, spec, graphs=["other"]) is None
    return spec


async def claimed(redis: Client) -> RunSpec:
    return (await running(redis)).spec


async def executed_alone(redis: Client) -> RunSpec:
    claim = await running(redis)
    await scripts.mark_alone(redis, claim)
    return claim.spec


async def lease_extended(redis: Client) -> RunSpec:
    claim = await running(redis)
    await make_due(redis, claim.spec)
    assert await try_claim(redis, claim.spec, "w2", lease_grace_ms=20_000) is None
    return claim.spec


async def lease_lapsed(redis: Client) -> RunSpec:
    claim = await running(redis)
    await lapsed(redis, claim)
    return claim.spec


async def cancel_requested(redis: Client) -> RunSpec:
    claim = await running(redis)
    await scripts.cancel(redis, claim.spec.thread_id, claim.spec.run_id, CancelAction.INTERRUPT)
    return claim.spec


async def thread_deleted(redis: Client) -> RunSpec:
    claim = await running(redis)
    await scripts.retire_thread(redis, claim.spec.thread_id)
    return claim.spec


async def inconsistent(redis: Client) -> RunSpec:
    spec = await admit(redis)
    await redis.zrem(keys.queue("default"), job(spec))
    return spec


async def waits_for_person(redis: Client) -> RunSpec:
    claim = await running(redis)
    await end(redis, claim, idle_status="interrupted", interrupts=b'{"t":[]}')
    return claim.spec


async def webhook_retrying(redis: Client) -> RunSpec:
    claim = await running(redis, a_spec(kwargs=b'{"webhook":"https://example.com/x"}'))
    await end(redis, claim)
    [(member, lease_end)] = await scripts.take_deliveries(redis, limit=1, lease_ms=1000)
    assert await scripts.settle_delivery(redis, member.decode(), lease_end, after_ms=30_000)
    return claim.spec


async def given_up(redis: Client) -> RunSpec:
    claim = await running(redis)
    for _ in range(3):
        assert await scripts.hand_back(redis, claim, crash="was ended by signal 9")
        claim = await take(redis, claim.spec)
    assert claim.exhausted
    await end(redis, claim, Cause.EXHAUSTED)
    return claim.spec


async def ended(redis: Client) -> RunSpec:
    claim = await running(redis)
    await end(redis, claim, Cause.TIMED_OUT)
    return claim.spec


SCENES: dict[Reason, tuple[Scene, dict[str, Any]]] = {
    Reason.DEFERRED: (deferred, {}),
    Reason.WAITS_FOR_RUN: (waits_for_run, {"position": 1}),
    Reason.QUEUED: (queued, {"position": 1, "due": 1, "slots": 10, "busy_slots": 0, "workers": 1}),
    Reason.QUEUE_PAUSED: (queue_paused, {"by": "op@host", "pause_reason": "the model is down"}),
    Reason.NO_WORKER: (no_worker, {"queue": "default", "draining_workers": 0, "lost_workers": 0}),
    Reason.UNSERVED: (unserved, {"workers": 1, "problem": "none serves graph other"}),
    Reason.SERVED_AGAIN: (served_again, {"graph_id": "echo"}),
    Reason.CLAIMED: (claimed, {"worker_id": "w1", "worker_state": "live", "host": "h1", "attempt": 1}),
    Reason.EXECUTED_ALONE: (executed_alone, {"worker_id": "w1", "attempt": 1}),
    Reason.LEASE_EXTENDED: (lease_extended, {"worker_id": "w1", "attempt": 1}),
    Reason.LEASE_LAPSED: (lease_lapsed, {"worker_id": "w1", "attempt": 1}),
    Reason.CANCEL_REQUESTED: (
        cancel_requested,
        {"action": "interrupt", "cancel_reason": "explicit", "holder": "Worker w1 (live) stops it."},
    ),
    Reason.THREAD_DELETED: (thread_deleted, {}),
    Reason.INCONSISTENT: (inconsistent, {"problem": "it is in no queue"}),
    Reason.WAITS_FOR_PERSON: (waits_for_person, {"status": "success"}),
    Reason.WEBHOOK_RETRYING: (webhook_retrying, {"status": "success", "tries": 1}),
    Reason.GIVEN_UP: (given_up, {"attempts": 3}),
    Reason.ENDED: (ended, {"status": "timeout", "cause": "timed_out"}),
}  # fmt: skip


def test_each_reason_has_a_scene() -> None:
    assert set(SCENES) == set(Reason)


@pytest.mark.parametrize("reason", SCENES)
async def test_a_situation_has_its_reason(redis: Client, reason: Reason) -> None:
    scene, fields = SCENES[reason]
    spec = await scene(redis)
    explanation = await explained(redis, spec)
    assert explanation.reason is reason
    assert fields.items() <= explanation.fields.items()


async def test_an_unknown_run_has_no_situation(redis: Client) -> None:
    assert await read_situation(redis, new_id(), new_id()) is None


# ── Times, positions and states ─────────────────────────────────────────────────────────────


async def test_seconds_are_those_until_the_run_moves(redis: Client) -> None:
    assert 85 < float((await explained(redis, await deferred(redis))).fields["seconds"]) <= 90
    lease = float((await explained(redis, await claimed(redis))).fields["seconds"])
    assert LEASE_MS / 1000 - 5 < lease <= LEASE_MS / 1000
    assert 5 <= float((await explained(redis, await lease_lapsed(redis))).fields["seconds"]) < 10
    extended = float((await explained(redis, await lease_extended(redis))).fields["seconds"])
    assert 15 < extended <= 20
    retry = float((await explained(redis, await webhook_retrying(redis))).fields["seconds"])
    assert 25 < retry <= 30


async def test_positions_are_those_in_the_queue_and_in_the_thread(redis: Client) -> None:
    specs = []
    for number in range(3):
        specs.append(await admit(redis))
        since = await redis_time(redis) * 1000 - 10_000 + number
        for key in (keys.queue("default"), keys.backlog("default")):
            await redis.zadd(key, {job(specs[-1]): since})
    await unserved(redis)
    await admit(redis, delay_ms=60_000)
    explanation = await explained(redis, specs[1])
    assert (explanation.fields["position"], explanation.fields["due"]) == (2, 3)
    waiting = [await admit(redis, a_spec(specs[0].thread_id)) for _ in range(3)]
    explanation = await explained(redis, waiting[2])
    assert explanation.fields == {"position": 3, "active_run_id": specs[0].run_id}


async def test_a_run_that_was_deferred_waits_for_its_busy_thread(redis: Client) -> None:
    first = await running(redis)
    later = await admit(redis, a_spec(first.spec.thread_id), delay_ms=60_000)
    assert (await explained(redis, later)).reason is Reason.DEFERRED
    for key in (keys.queue("default"), keys.backlog("default")):
        await redis.zadd(key, {job(later): 1})
    assert (await explained(redis, later)).reason is Reason.WAITS_FOR_RUN


@pytest.mark.parametrize(
    ("fields", "state", "reason"),
    [
        ({"draining_since": 5}, "draining", Reason.NO_WORKER),
        ({"ttl": -1.0}, "lost", Reason.NO_WORKER),
        ({"graphs": ["other"]}, "live", Reason.UNSERVED),
        ({"protocol": 0}, "live", Reason.UNSERVED),
        ({"version": "", "graphs": []}, "live", Reason.QUEUED),  # it has no record
    ],
)
async def test_workers_count_by_what_they_can_do(
    any_redis: Client, fields: dict[str, Any], state: str, reason: Reason
) -> None:
    held = await running(any_redis)
    await worker(any_redis, **fields)
    assert (await explained(any_redis, await admit(any_redis))).reason is reason
    assert (await explained(any_redis, held.spec)).fields["worker_state"] == state
    await lapsed(any_redis, held)
    expected = reason if reason is not Reason.QUEUED else Reason.LEASE_LAPSED
    assert (await explained(any_redis, held.spec)).reason is expected


async def test_a_worker_that_is_too_old_is_named(any_redis: Client) -> None:
    await worker(any_redis)
    spec = await admit(any_redis, a_spec(protocol=PROTOCOL + 1))
    explanation = await explained(any_redis, spec)
    assert explanation.reason is Reason.UNSERVED
    assert f"too old for protocol {PROTOCOL + 1}" in explanation.message


async def test_a_run_that_waits_for_the_others_of_its_worker_is_executed_alone(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    slot = SlotRecord(
        thread_id=claim.spec.thread_id, run_id=claim.spec.run_id, graph_id="echo", attempt=4,
        since=1, isolation="alone",
    )  # fmt: skip
    await worker(any_redis, runs=[slot])
    assert (await explained(any_redis, claim.spec)).reason is Reason.EXECUTED_ALONE


async def test_a_cancel_without_a_worker_says_so(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.cancel(any_redis, claim.spec.thread_id, claim.spec.run_id, CancelAction.ROLLBACK)
    await lapsed(any_redis, claim)
    assert "No live worker" in (await explained(any_redis, claim.spec)).message
    await worker(any_redis)
    assert "The next worker" in (await explained(any_redis, claim.spec)).message


async def test_a_paused_queue_keeps_lapsed_runs_too_and_ends_cancelled_ones(redis: Client) -> None:
    held, lost = await running(redis), await running(redis)
    await lapsed(redis, lost)
    await scripts.pause_queue(redis, "default")
    assert (await explained(redis, held.spec)).reason is Reason.CLAIMED
    assert (await explained(redis, lost.spec)).reason is Reason.QUEUE_PAUSED
    await scripts.cancel(redis, lost.spec.thread_id, lost.spec.run_id, CancelAction.INTERRUPT)
    assert (await explained(redis, lost.spec)).reason is Reason.CANCEL_REQUESTED
    await scripts.resume_queue(redis, "default")
    assert (await explained(redis, await admit(redis))).reason is Reason.QUEUED


async def test_only_the_run_that_paused_last_waits_for_a_person(redis: Client) -> None:
    paused = await waits_for_person(redis)
    answer = await take(redis, await admit(redis, a_spec(paused.thread_id)))
    assert (await explained(redis, paused)).reason is Reason.ENDED
    await end(redis, answer, idle_status="interrupted", interrupts=b'{"t":[]}')
    assert (await explained(redis, paused)).reason is Reason.ENDED
    assert (await explained(redis, answer.spec)).reason is Reason.WAITS_FOR_PERSON


async def test_a_run_that_nobody_held_has_ended_as_cancelled(redis: Client) -> None:
    spec = await admit(redis)
    await scripts.cancel(redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
    await end_pending(redis, spec)
    explanation = await explained(redis, spec)
    assert (explanation.reason, explanation.fields["cause"]) == (Reason.ENDED, "cancelled")


async def test_a_lost_thread_and_a_lost_lease_are_inconsistent(redis: Client) -> None:
    claim, other = await running(redis), await running(redis)
    await redis.zrem(keys.queue("default"), claim.job)
    assert (await explained(redis, claim.spec)).fields == {"problem": "it has no lease"}
    await redis.delete(keys.thread(other.spec.thread_id))
    assert (await explained(redis, other.spec)).fields == {"problem": "its thread is lost"}
    await make_due(redis, other.spec)
    ending = {"lease_ms": LEASE_MS, "stream_ttl": STREAM_TTL}
    assert await scripts.repair_run(redis, other.job, "default", **ending) == "stranded"
    assert (await explained(redis, other.spec)).fields["cause"] == "stranded"


async def test_ten_thousand_runs_cost_no_more_commands_than_one(real_redis: Client) -> None:
    await worker(real_redis)
    spec = await admit(real_redis)

    async def commands() -> dict[str, int]:
        """Returns the least of five reads: processes of other tests may use the same server."""
        reads = []
        for _ in range(5):
            await real_redis.config_resetstat()
            await read_situation(real_redis, spec.thread_id, spec.run_id)
            stats = await real_redis.info("commandstats")
            del stats["cmdstat_config|resetstat"]
            reads.append({name: entry["calls"] for name, entry in stats.items()})
        return min(reads, key=lambda counts: sum(counts.values()))

    one = await commands()
    now_ms = await redis_time(real_redis) * 1000
    jobs = {f"t{n}/r{n}": now_ms - n for n in range(10_000)}
    await real_redis.zadd(keys.queue("default"), jobs)
    await real_redis.zadd(keys.backlog("default"), jobs)
    assert await commands() == one
    assert sum(one.values()) < 25


async def test_fifty_readers_and_a_moving_run_always_have_a_reason(redis: Client) -> None:
    """A read is one transaction, so no reader sees a run between two states."""
    spec = await admit(redis)

    async def read() -> Reason:
        situation = await read_situation(redis, spec.thread_id, spec.run_id)
        assert situation is not None
        return explain(situation).reason

    async def move() -> None:
        for _ in range(10):
            claim = await take(redis, spec)
            await scripts.hand_back(redis, claim, reason="drain")
        await end(redis, await take(redis, spec))

    *reasons, _ = await asyncio.gather(*(read() for _ in range(50)), move())
    assert set(reasons) <= {Reason.QUEUED, Reason.CLAIMED, Reason.ENDED}
    assert await read() is Reason.ENDED
