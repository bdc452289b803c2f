"""The journal of a run has one entry for each claim, with its worker and its end; each step is written once."""

import asyncio
from collections.abc import Awaitable

import pytest

from contract.builders import (
    LEASE_MS,
    STREAM_TTL,
    a_spec,
    admit,
    end,
    end_pending,
    job,
    make_due,
    new_id,
    overtaken,
    running,
    take,
    try_claim,
)
from millstream.shared import keys, scripts
from millstream.shared.errors import FencedError
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.runs.journal import Journal, parse_journal
from millstream.shared.scripts.runs.admit import MAX_ENDED
from millstream.shared.wire import RunSpec

MAX_BYTES = 4096  # MAX_JOURNAL of parts/journal.lua


async def text_of(redis: Client, spec: RunSpec) -> bytes | None:
    text: bytes | None = await redis.hget(keys.run(spec.thread_id, spec.run_id), "journal")  # type: ignore[misc]
    return text


async def journal(redis: Client, spec: RunSpec) -> Journal:
    return parse_journal(await text_of(redis, spec))


async def outcomes(redis: Client, spec: RunSpec) -> list[tuple[int, str, str | None]]:
    """Returns attempt, worker and outcome of each entry."""
    return [
        (entry.number, entry.worker_id, entry.outcome)
        for entry in (await journal(redis, spec)).attempts
    ]


async def test_a_run_without_a_claim_has_no_entry(any_redis: Client) -> None:
    assert await journal(any_redis, await admit(any_redis)) == Journal()


@pytest.mark.parametrize(
    "cause", [Cause.SUCCEEDED, Cause.FAILED, Cause.TIMED_OUT, Cause.EXHAUSTED, Cause.CANCELLED]
)
async def test_an_entry_has_worker_fence_times_and_the_cause_of_the_end(
    any_redis: Client, cause: Cause
) -> None:
    begin = await redis_time(any_redis) * 1000
    spec = await admit(any_redis)
    await any_redis.zincrby(keys.backlog("default"), -5000, job(spec))
    claim = await take(any_redis, spec, "host-7-abc")
    [entry] = (await journal(any_redis, spec)).attempts
    assert (entry.number, entry.worker_id, entry.fence) == (1, "host-7-abc", claim.fence)
    assert (entry.outcome, entry.ended_at) == (None, None)
    assert entry.waited == claim.waited_ms >= 5000
    assert (await journal(any_redis, spec)).holder == entry
    await end(any_redis, claim, cause)
    ended = await journal(any_redis, spec)
    [entry] = ended.attempts
    assert (entry.outcome, ended.cause, ended.holder) == (cause, cause, None)
    assert ended.ended_at is not None
    assert entry.ended_at == ended.ended_at
    assert begin - 1 <= entry.claimed_at <= ended.ended_at < begin + 60_000


async def test_a_lapse_is_dated_by_the_end_of_the_lease(any_redis: Client) -> None:
    claim = await running(any_redis)
    lapsed_at = int(await redis_time(any_redis) * 1000) - 7000
    await any_redis.zadd(keys.queue("default"), {claim.job: lapsed_at})
    await take(any_redis, claim.spec, "w2")
    first, second = (await journal(any_redis, claim.spec)).attempts
    assert (first.outcome, first.ended_at) == ("lapsed", lapsed_at)
    assert (second.number, second.worker_id, second.outcome) == (2, "w2", None)


async def test_a_lapse_that_only_others_could_not_serve_keeps_its_date(any_redis: Client) -> None:
    claim = await running(any_redis)
    lapsed_at = int(await redis_time(any_redis) * 1000) - 7000
    await any_redis.zadd(keys.queue("default"), {claim.job: lapsed_at})
    for _ in range(3):
        assert await try_claim(any_redis, claim.spec, "w2", graphs=["other"]) is None
        await make_due(any_redis, claim.spec)
    await take(any_redis, claim.spec, "w3")
    state = await journal(any_redis, claim.spec)
    assert [each.outcome for each in state.attempts] == ["lapsed", None]
    assert state.attempts[0].ended_at == lapsed_at
    assert [note.what for note in state.notes] == ["unserved"]  # the first time


async def test_a_run_that_was_alone_in_its_worker_has_crashed_it(any_redis: Client) -> None:
    claim = await running(any_redis)
    await scripts.mark_alone(any_redis, claim)
    await make_due(any_redis, claim.spec)
    await take(any_redis, claim.spec, "w2")
    assert await outcomes(any_redis, claim.spec) == [(1, "w1", "lapsed_alone"), (2, "w2", None)]


async def test_a_hand_back_uses_no_attempt_and_has_its_reason(any_redis: Client) -> None:
    claim = await running(any_redis)
    assert await scripts.hand_back(any_redis, claim, reason="no process")
    assert await outcomes(any_redis, claim.spec) == [(1, "w1", "handed_back")]
    await end(any_redis, await take(any_redis, claim.spec, "w2"))
    assert await outcomes(any_redis, claim.spec) == [
        (1, "w1", "handed_back"), (1, "w2", "succeeded"),
    ]  # fmt: skip
    assert (await journal(any_redis, claim.spec)).attempts[0].detail == "no process"


async def test_a_crash_is_one_line_whatever_its_text(any_redis: Client) -> None:
    claim = await running(any_redis)
    text = "was ended by\nclaimed 1 2 3 4 w9\r\n\tsignal 11 " + "é" * 500
    assert await scripts.hand_back(any_redis, claim, crash=text)
    [entry] = (await journal(any_redis, claim.spec)).attempts
    assert entry.outcome == "crashed"
    assert entry.detail.startswith("was ended by claimed 1 2 3 4 w9")
    assert len(entry.detail.encode()) < 250


async def test_a_cancel_of_an_unheld_run_ends_it_without_an_attempt(any_redis: Client) -> None:
    spec = await admit(any_redis)
    await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
    await end_pending(any_redis, spec)
    state = await journal(any_redis, spec)
    assert (state.attempts, state.cause) == ([], "cancelled")
    assert state.ended_at is not None


async def test_displaced_runs_are_cancelled(any_redis: Client) -> None:
    """Those that the admission ends, and those that it leaves to its caller."""
    thread = new_id()
    specs = [await admit(any_redis, a_spec(thread)) for _ in range(MAX_ENDED + 2)]
    _, marked = await scripts.admit(
        any_redis, a_spec(thread, strategy="interrupt"), delay_ms=0, new_thread=None,
        stream_ttl=STREAM_TTL,
    )  # fmt: skip
    assert len(marked) == 2
    await asyncio.gather(
        *(
            scripts.end_displaced(any_redis, thread, marked, stream_ttl=STREAM_TTL)
            for _ in range(50)
        )
    )
    for spec in specs:
        text = await text_of(any_redis, spec)
        assert text is not None
        assert text.count(b"ended") == 1
        assert parse_journal(text).cause == "cancelled"


async def repair_run(redis: Client, spec: RunSpec) -> str:
    return await scripts.repair_run(
        redis, job(spec), spec.queue, lease_ms=LEASE_MS, stream_ttl=STREAM_TTL
    )


async def test_a_repair_is_noted_once_and_a_healthy_run_is_not(any_redis: Client) -> None:
    spec = await admit(any_redis)
    assert await repair_run(any_redis, spec) == "fine"
    assert await text_of(any_redis, spec) is None
    await any_redis.zrem(keys.queue("default"), job(spec))
    await asyncio.gather(*(repair_run(any_redis, spec) for _ in range(50)))
    assert [note.what for note in (await journal(any_redis, spec)).notes] == ["repaired"]


async def test_a_run_whose_thread_is_lost_is_stranded_once(any_redis: Client) -> None:
    claim = await running(any_redis)
    await any_redis.delete(keys.thread(claim.spec.thread_id))
    await make_due(any_redis, claim.spec)
    await asyncio.gather(*(repair_run(any_redis, claim.spec) for _ in range(50)))
    text = await text_of(any_redis, claim.spec)
    assert text is not None
    assert text.count(b"ended") == 1
    assert await outcomes(any_redis, claim.spec) == [(1, "w1", "stranded")]


# ── Bounds ──────────────────────────────────────────────────────────────────────────────────


async def test_the_journal_is_bounded_and_keeps_the_newest_entries(any_redis: Client) -> None:
    spec = await admit(any_redis)
    worker = "a-host-with-a-long-name-4711-0123abcd"
    for number in range(100):
        claim = await take(any_redis, spec, f"{worker}-{number}")
        assert await scripts.hand_back(any_redis, claim, reason="drain")
        text = await text_of(any_redis, spec)
        assert text is not None
        assert len(text) <= MAX_BYTES
    state = parse_journal(text)
    assert not state.is_complete
    assert 20 < len(state.attempts) < 60
    numbers = [int(each.worker_id.rpartition("-")[2]) for each in state.attempts]
    assert numbers == list(range(100 - len(numbers), 100))
    assert {each.outcome for each in state.attempts} == {"handed_back"}


async def test_a_journal_ends_with_the_record(any_redis: Client) -> None:
    claim = await running(any_redis)
    await end(any_redis, claim)
    await scripts.delete_run(any_redis, claim.spec.thread_id, claim.spec.run_id)
    assert not await any_redis.exists(keys.run(claim.spec.thread_id, claim.spec.run_id))


def test_lines_of_another_version_are_skipped() -> None:
    text = b"claimed 5 1 7 0 w1\nnew 6 x\nclaimed 7 junk\n\nclaimed x\nended 9 succeeded"
    state = parse_journal(text)
    assert [(each.fence, each.outcome) for each in state.attempts] == [(7, "succeeded")]
    assert state.is_complete


# ── Contenders and stale workers ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lapsed", [False, True])
async def test_one_of_fifty_claims_is_noted(any_redis: Client, lapsed: bool) -> None:
    spec = await admit(any_redis)
    expected: list[str | None] = [None]
    if lapsed:
        await take(any_redis, spec)
        await make_due(any_redis, spec)
        expected = ["lapsed", None]
    claims = await asyncio.gather(*(try_claim(any_redis, spec, f"c{n}") for n in range(50)))
    [winner] = [claim for claim in claims if claim is not None]
    entries = (await journal(any_redis, spec)).attempts
    assert [entry.outcome for entry in entries] == expected
    assert entries[-1].fence == winner.fence


async def test_a_repeated_claim_is_noted_once(any_redis: Client) -> None:
    spec = await admit(any_redis)
    await asyncio.gather(*(try_claim(any_redis, spec, token="same") for _ in range(50)))
    assert await outcomes(any_redis, spec) == [(1, "w1", None)]


async def test_of_fifty_ends_and_hand_backs_one_is_noted(any_redis: Client) -> None:
    for _ in range(5):
        claim = await running(any_redis)

        def step(number: int, claim: object = claim) -> Awaitable[object]:
            if number % 2:
                return scripts.hand_back(any_redis, claim, reason="drain")  # type: ignore[arg-type]
            return end(any_redis, claim)  # type: ignore[arg-type]

        await asyncio.gather(*map(step, range(50)))
        text = await text_of(any_redis, claim.spec)
        assert text is not None
        assert len(text.split(b"\n")) == 2
        [(_, _, outcome)] = await outcomes(any_redis, claim.spec)
        assert outcome in ("handed_back", "succeeded")


async def test_a_stale_worker_changes_no_journal(any_redis: Client) -> None:
    old, new = await overtaken(any_redis)
    before = await text_of(any_redis, old.spec)
    assert not await scripts.hand_back(any_redis, old, reason="drain")
    assert not await scripts.hand_back(any_redis, old, crash="was killed")
    with pytest.raises(FencedError):
        await end(any_redis, old)
    assert await text_of(any_redis, old.spec) == before
    await end(any_redis, new)
    after = await text_of(any_redis, old.spec)
    assert not await scripts.hand_back(any_redis, new)
    assert await end(any_redis, new) is None
    assert await text_of(any_redis, old.spec) == after


async def test_the_first_of_fifty_cancels_has_a_time(any_redis: Client) -> None:
    claim = await running(any_redis)
    spec, key = claim.spec, keys.run(claim.spec.thread_id, claim.spec.run_id)
    begin = await redis_time(any_redis) * 1000
    await asyncio.gather(
        *(
            scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.INTERRUPT)
            for _ in range(50)
        )
    )
    at = await any_redis.hget(key, "cancel_at")  # type: ignore[misc]
    assert begin - 1 <= int(at) < begin + 60_000
    await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.ROLLBACK)
    assert await any_redis.hget(key, "cancel_at") == at  # type: ignore[misc]
