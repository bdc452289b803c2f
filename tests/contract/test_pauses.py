"""A paused queue gives no run to a worker, also under races. Admissions, cancels and running runs continue."""

import asyncio
import uuid
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
    overtaken,
    renew,
    running,
    take,
    try_claim,
    woken,
    write,
)
from millstream.shared import keys, repair, runs, scripts
from millstream.shared.figures import read_figures
from millstream.shared.redis import Client
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Pause

CONTENDERS = 50
QUEUE = "default"


@pytest.fixture
async def paused(any_redis: Client) -> Client:
    """A Redis with a paused queue, to which a run was admitted once."""
    await end_pending(any_redis, await admit(any_redis))
    assert await scripts.pause_queue(any_redis, QUEUE, by="ann", reason="a deploy")
    return any_redis


@pytest.fixture(autouse=True)
async def resumed(any_redis: Client) -> Any:
    yield
    await any_redis.delete(keys.paused(QUEUE))


async def due(redis: Client) -> list[str]:
    return (await scripts.find_due(redis, QUEUE, 10))[0]


async def test_an_unknown_queue_is_neither_paused_nor_resumed(any_redis: Client) -> None:
    assert await scripts.pause_queue(any_redis, QUEUE) is None
    assert await scripts.resume_queue(any_redis, QUEUE) == "unknown"
    assert await dump(any_redis) == {}


async def test_the_first_pause_stays(paused: Client) -> None:
    first = await scripts.pause_queue(paused, QUEUE, by="bob", reason="another")
    assert first is not None
    assert (first.by, first.reason) == ("ann", "a deploy")
    assert first.at > 1_700_000_000_000_000
    assert (await read_figures(paused)).pauses == {QUEUE: first}
    assert await scripts.resume_queue(paused, QUEUE) == "resumed"
    assert await scripts.resume_queue(paused, QUEUE) == "not_paused"
    assert (await read_figures(paused)).pauses == {}
    second = await scripts.pause_queue(paused, QUEUE)
    assert second == Pause(second.at if second else 0, "", "")


async def test_fifty_pauses_have_one_record(any_redis: Client) -> None:
    await end_pending(any_redis, await admit(any_redis))
    pauses = await asyncio.gather(
        *(scripts.pause_queue(any_redis, QUEUE, by=str(number)) for number in range(CONTENDERS))
    )
    assert len(set(pauses)) == 1
    results = await asyncio.gather(
        *(scripts.resume_queue(any_redis, QUEUE) for _ in range(CONTENDERS))
    )
    assert sorted(results) == ["not_paused"] * (CONTENDERS - 1) + ["resumed"]


async def test_no_contender_claims_a_run_of_a_paused_queue(
    paused: Client, replies: list[Any]
) -> None:
    spec = await admit(paused)
    assert await due(paused) == []
    before = await dump(paused)
    replies.clear()
    claims = await asyncio.gather(
        *(try_claim(paused, spec, f"w{number}") for number in range(CONTENDERS))
    )
    assert claims == [None] * CONTENDERS
    assert {reply[0] for reply in replies} == {b"paused"}
    assert await dump(paused) == before
    await scripts.resume_queue(paused, QUEUE)
    assert await due(paused) == [job(spec)]
    claims = await asyncio.gather(
        *(try_claim(paused, spec, f"w{number}") for number in range(CONTENDERS))
    )
    assert sum(claim is not None for claim in claims) == 1


async def test_claims_and_pauses_at_the_same_time_leave_no_run_behind(any_redis: Client) -> None:
    specs = [await admit(any_redis) for _ in range(20)]
    steps: list[Any] = []
    for number in range(CONTENDERS):
        steps += [
            try_claim(any_redis, specs[number % 20], f"w{number}"),
            scripts.pause_queue(any_redis, QUEUE)
            if number % 2
            else scripts.resume_queue(any_redis, QUEUE),
        ]
    results = await asyncio.gather(*steps)
    await scripts.resume_queue(any_redis, QUEUE)
    claimed = [each.spec for each in results if isinstance(each, scripts.Claim)]
    for spec in specs:
        if spec not in claimed:
            assert await try_claim(any_redis, spec) is not None
        assert await try_claim(any_redis, spec, "late") is None
    assert (await read_figures(any_redis)).queues[QUEUE].running == 20


async def test_a_worker_continues_its_run_and_ends_it(paused: Client) -> None:
    await scripts.resume_queue(paused, QUEUE)
    claim = await running(paused)
    await scripts.pause_queue(paused, QUEUE)
    assert await renew(paused, claim) == "held"
    assert await write(paused, claim, 1, "values", "{}")
    assert await end(paused, claim) == "success"


async def test_a_claim_whose_reply_was_lost_is_repeated(paused: Client) -> None:
    await scripts.resume_queue(paused, QUEUE)
    spec, token = await admit(paused), uuid.uuid4().hex
    first = await try_claim(paused, spec, token=token)
    await scripts.pause_queue(paused, QUEUE)
    assert await try_claim(paused, spec, token=token) == first


async def test_a_lapsed_lease_is_taken_over_after_the_resume(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.pause_queue(any_redis, QUEUE)
    await make_due(any_redis, claim.spec)
    assert await due(any_redis) == []
    assert await try_claim(any_redis, claim.spec, "w2") is None
    assert await try_claim(any_redis, claim.spec, "w2", lease_grace_ms=5000) is None
    assert await renew(any_redis, claim) == "held"  # its worker was alive after all
    await make_due(any_redis, claim.spec)
    await scripts.resume_queue(any_redis, QUEUE)
    assert await woken(any_redis) == [claim.job]
    assert (await take(any_redis, claim.spec, "w2")).attempt == 2
    assert await renew(any_redis, claim) == "lost"


async def test_a_stale_worker_changes_nothing_in_a_paused_queue(any_redis: Client) -> None:
    old, new = await overtaken(any_redis)
    await scripts.pause_queue(any_redis, QUEUE)
    before = await dump(any_redis)
    assert not await scripts.hand_back(any_redis, old)
    assert not await write(any_redis, old, 1, "values", "{}")
    assert await try_claim(any_redis, old.spec, "w1") is None
    assert await dump(any_redis) == before
    assert await scripts.hand_back(any_redis, new)
    assert await try_claim(any_redis, old.spec, "w1") is None


async def test_runs_are_admitted_and_cancelled_in_a_paused_queue(paused: Client) -> None:
    thread = new_id()
    first, second = await admit(paused, a_spec(thread)), await admit(paused, a_spec(thread))
    for spec in (first, second):
        status = await runs.cancel(
            paused,
            thread,
            spec.run_id,
            action=CancelAction.INTERRUPT,
            stream_ttl=STREAM_TTL,
        )
        assert status == "pending"
        assert (await runs.get_run(paused, thread, spec.run_id)).status == "interrupted"
    displaced = await admit(paused, a_spec(thread))
    newest = await admit(paused, a_spec(thread, strategy="interrupt"))
    assert (await runs.get_run(paused, thread, displaced.run_id)).status == "interrupted"
    await scripts.resume_queue(paused, QUEUE)
    assert await due(paused) == [job(newest)]


async def test_a_worker_rolls_back_a_cancelled_run_during_the_pause(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.pause_queue(any_redis, QUEUE)
    await scripts.hand_back(any_redis, claim)
    await any_redis.delete(keys.wake(QUEUE))
    spec = claim.spec
    await runs.cancel(
        any_redis, spec.thread_id, spec.run_id, action=CancelAction.ROLLBACK, stream_ttl=STREAM_TTL
    )
    assert await woken(any_redis) == [claim.job]  # no search finds it
    again = await take(any_redis, spec, "w2")
    assert again.cancel == "rollback"
    await end(any_redis, again)


async def test_the_reaper_wakes_a_worker_for_a_cancelled_run_whose_worker_died(
    any_redis: Client,
) -> None:
    claim = await running(any_redis)
    spec = claim.spec
    await scripts.pause_queue(any_redis, QUEUE)
    await make_due(any_redis, spec)
    await any_redis.delete(keys.wake(QUEUE))
    assert not await repair.repair_runs(any_redis, lease_ms=LEASE_MS, stream_ttl=STREAM_TTL)
    assert await woken(any_redis) == []
    await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
    await repair.repair_runs(any_redis, lease_ms=LEASE_MS, stream_ttl=STREAM_TTL)
    assert await woken(any_redis) == [claim.job]
    assert (await take(any_redis, spec, "w2")).cancel == "interrupt"


async def test_a_resume_wakes_a_worker_for_each_due_run(paused: Client) -> None:
    specs = [await admit(paused) for _ in range(3)]
    await admit(paused, delay_ms=60_000)
    await paused.delete(keys.wake(QUEUE))  # idle workers popped the wake-ups, and got no run
    await scripts.resume_queue(paused, QUEUE)
    assert sorted(await woken(paused)) == sorted(map(job, specs))


async def test_a_paused_queue_has_no_work_for_more_workers(any_redis: Client) -> None:
    held, lapsed = await running(any_redis), await running(any_redis)
    for _ in range(3):
        await admit(any_redis)
    await admit(any_redis, delay_ms=60_000)
    await make_due(any_redis, lapsed.spec)
    await scripts.pause_queue(any_redis, QUEUE)
    state = (await read_figures(any_redis)).queues[QUEUE]
    assert (state.due, state.running, state.deferred, state.paused) == (3, 2, 1, 1)
    assert (state.in_flight, state.held_up, state.oldest_claimable_age) == (1, 4, 0)
    assert state.oldest_due_age > 0
    total = (await read_figures(any_redis)).total
    assert (total.in_flight, total.paused, total.oldest_claimable_age) == (1, 1, 0)
    await end(any_redis, held)
    assert (await read_figures(any_redis)).total.in_flight == 0
    await scripts.resume_queue(any_redis, QUEUE)
    state = (await read_figures(any_redis)).queues[QUEUE]
    assert (state.in_flight, state.held_up, state.paused) == (4, 0, 0)
    assert state.oldest_claimable_age == state.oldest_due_age > 0
