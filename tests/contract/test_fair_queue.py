"""Due runs are claimed by the shares of their identities, whatever the number of runs that an identity has queued."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from contract.builders import (
    LEASE_MS,
    a_spec,
    admit,
    dump,
    end,
    end_pending,
    job,
    make_due,
    overtaken,
    queued,
    take,
    try_claim,
)
from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.rules.fair_shares import AdmissionLimits
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.wire import RunSpec

CONTENDERS = 50
WEIGHTS = AdmissionLimits(weights={"heavy": 2.0, "light": 0.5})


async def admit_all(
    redis: Client, identity: str, number: int, limits: AdmissionLimits = WEIGHTS
) -> list[RunSpec]:
    return [await admit(redis, a_spec(identity=identity), limits=limits) for _ in range(number)]


async def in_order(redis: Client, limit: int = 200) -> list[str]:
    """Returns the due jobs in the order in which workers claim them."""
    [(jobs, _)] = await scripts.tag_due_in(redis, ["default"], limit)
    return jobs


async def claim_first(redis: Client, number: int, *lists: Sequence[RunSpec]) -> list[str]:
    """Claims the first runs, one by one; returns their identities."""
    specs = {job(spec): spec for each in lists for spec in each}
    identities = []
    for _ in range(number):
        [first] = await in_order(redis, 1)
        await take(redis, specs[first])
        identities.append(specs[first].identity)
    return identities


async def test_a_run_of_another_identity_precedes_all_that_an_identity_has_queued(
    any_redis: Client,
) -> None:
    queue = await admit_all(any_redis, "ann", 100)
    assert await claim_first(any_redis, 2, queue) == ["ann", "ann"]
    other = await admit_all(any_redis, "bob", 2)
    assert await claim_first(any_redis, 4, queue, other) == ["bob", "ann", "bob", "ann"]


@pytest.mark.parametrize("identity", ["", "ann"])
async def test_the_runs_of_one_identity_keep_their_order(any_redis: Client, identity: str) -> None:
    specs = await admit_all(any_redis, identity, 10)
    await take(any_redis, specs[0])
    specs += await admit_all(any_redis, identity, 10)
    assert await in_order(any_redis) == [job(spec) for spec in specs[1:]]


async def test_new_identities_keep_their_order(any_redis: Client) -> None:
    specs = [spec for n in range(30) for spec in await admit_all(any_redis, f"user-{n}", 1)]
    assert await in_order(any_redis) == [job(spec) for spec in specs]


async def test_a_stream_of_new_identities_does_not_starve_the_others(any_redis: Client) -> None:
    limits = AdmissionLimits(weights={"ann": 90.0})  # a run costs as much as 11.1 new identities
    first, second = await admit_all(any_redis, "ann", 2, limits)
    others = [spec for n in range(20) for spec in await admit_all(any_redis, f"user-{n}", 1)]
    jobs = await in_order(any_redis)
    assert jobs[0] == job(first)
    assert jobs[1:] == [job(spec) for spec in [*others[:11], second, *others[11:]]]


async def test_identities_are_claimed_in_the_ratio_of_their_weights(any_redis: Client) -> None:
    runs = [await admit_all(any_redis, name, 12) for name in ("heavy", "other", "light")]
    claimed = await claim_first(any_redis, 14, *runs)
    assert [claimed.count(name) for name in ("heavy", "other", "light")] == [8, 4, 2]


async def test_an_identity_saves_no_share_while_it_queues_nothing(any_redis: Client) -> None:
    queue = await admit_all(any_redis, "ann", 20)
    await claim_first(any_redis, 10, queue)
    other = await admit_all(any_redis, "bob", 10)
    assert (await claim_first(any_redis, 6, queue, other)).count("bob") == 3


async def test_cancelled_runs_do_not_count_against_an_idle_identity(any_redis: Client) -> None:
    for spec in await admit_all(any_redis, "ann", 20):
        await end_pending(any_redis, spec)
    queue = await admit_all(any_redis, "bob", 20)
    await claim_first(any_redis, 1, queue)
    [late] = await admit_all(any_redis, "ann", 1)
    assert (await in_order(any_redis)).index(job(late)) <= 1


async def test_the_shares_have_no_more_identities_than_were_served_last(any_redis: Client) -> None:
    limits = AdmissionLimits(weights={f"user-{n}": 100.0 for n in range(100)})
    runs = [await admit_all(any_redis, f"user-{n}", 1, limits) for n in range(100)]
    assert await any_redis.zcard(keys.shares("default")) == 101  # and the clock
    await claim_first(any_redis, 100, *runs)
    assert 10 <= await any_redis.zcard(keys.shares("default")) <= 13
    assert 86_000 < await any_redis.ttl(keys.shares("default")) <= 86_400


async def test_runs_stay_in_order_when_the_shares_are_lost(any_redis: Client) -> None:
    queue = await admit_all(any_redis, "ann", 3)
    await any_redis.delete(keys.shares("default"))
    await take(any_redis, queue[0])
    assert not await any_redis.exists(keys.shares("default"))
    later = [*await admit_all(any_redis, "ann", 1), *await admit_all(any_redis, "bob", 1)]
    assert await in_order(any_redis) == [job(spec) for spec in (*queue[1:], *later)]


# ── Runs that are queued again ─────────────────────────────────────────────────────────────────


async def test_a_handed_back_run_precedes_all_others_and_costs_nothing(any_redis: Client) -> None:
    [first] = await admit_all(any_redis, "ann", 1)
    claim = await take(any_redis, first)
    queue, other = await admit_all(any_redis, "ann", 5), await admit_all(any_redis, "bob", 5)
    await claim_first(any_redis, 4, queue, other)
    shares = await any_redis.zrange(keys.shares("default"), 0, -1, withscores=True)
    assert await scripts.hand_back(any_redis, claim)
    assert (await in_order(any_redis))[0] == claim.job
    assert await any_redis.zrange(keys.shares("default"), 0, -1, withscores=True) == shares


async def test_a_lapsed_run_precedes_all_others(any_redis: Client) -> None:
    [lapsed] = await admit_all(any_redis, "ann", 1)
    await take(any_redis, lapsed)
    other = await admit_all(any_redis, "bob", 5)
    await make_due(any_redis, lapsed)
    before = await dump(any_redis)
    assert await in_order(any_redis, 3) == [job(spec) for spec in (lapsed, *other[:2])]
    assert await dump(any_redis) == before
    assert await try_claim(any_redis, lapsed, "w2", slots=1) is not None


async def test_the_next_run_of_a_thread_gets_its_tag_when_it_is_released(any_redis: Client) -> None:
    first = await admit(any_redis, a_spec(identity="ann"))
    second = await admit(any_redis, a_spec(first.thread_id, identity="ann"))
    claim = await take(any_redis, first)
    queue = await admit_all(any_redis, "bob", 5)
    await end(any_redis, claim)
    assert (await queued(any_redis))[job(second)] < 0
    assert (await in_order(any_redis)).index(job(second)) <= 1
    assert len(await in_order(any_redis)) == len(queue) + 1


async def test_deferred_runs_get_their_tags_when_they_are_due(any_redis: Client) -> None:
    deferred = [
        await admit(any_redis, a_spec(identity="ann"), delay_ms=60_000 + n) for n in range(10)
    ]
    other = await admit_all(any_redis, "bob", 3)
    for n, spec in enumerate(deferred):
        await any_redis.zadd(keys.queue("default"), {job(spec): 1 + n})
    assert await in_order(any_redis) == [job(spec) for spec in (*deferred, *other)]
    scores = await queued(any_redis)
    assert min(scores[job(spec)] for spec in deferred) > 0
    jobs = await in_order(any_redis, 5)  # they compete now
    assert {job(spec) for spec in other} < set(jobs)
    assert await in_order(any_redis) == [
        *(job(spec) for pair in zip(other, deferred, strict=False) for spec in pair),
        *map(job, deferred[3:]),
    ]


async def test_a_run_that_no_worker_could_execute_is_charged_once(any_redis: Client) -> None:
    [unserved] = await admit_all(any_redis, "ann", 1)
    assert await try_claim(any_redis, unserved, graphs=["other"]) is None
    shares = await any_redis.zrange(keys.shares("default"), 0, -1, withscores=True)
    await make_due(any_redis, unserved)
    queue = await admit_all(any_redis, "ann", 5)
    await make_due(any_redis, unserved)
    assert (await in_order(any_redis, 5))[0] == job(unserved)
    after = dict(await any_redis.zrange(keys.shares("default"), 0, -1, withscores=True))
    assert max(after.values()) == pytest.approx(max(score for _, score in shares) + 0.05, abs=1e-4)
    assert len(await in_order(any_redis)) == len(queue) + 1


# ── Claims ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_worker_claims_no_run_that_its_slots_do_not_reach(
    any_redis: Client, replies: list[Any]
) -> None:
    specs = await admit_all(any_redis, "ann", 4)
    before = await dump(any_redis)
    assert await try_claim(any_redis, specs[2], slots=2) is None
    assert replies[-1] == [b"behind"]
    assert await dump(any_redis) == before
    assert await try_claim(any_redis, specs[2], slots=3) is not None


async def test_a_run_with_a_cancel_is_claimed_whatever_its_tag(any_redis: Client) -> None:
    specs = await admit_all(any_redis, "ann", 3)
    last = specs[-1]
    await scripts.cancel(any_redis, last.thread_id, last.run_id, CancelAction.INTERRUPT)
    claim = await try_claim(any_redis, last, slots=1)
    assert claim is not None
    assert claim.cancel == "interrupt"


async def test_a_claim_gives_a_tag_to_a_run_that_became_due(any_redis: Client) -> None:
    deferred = await admit(any_redis, a_spec(identity="bob"), delay_ms=60_000)
    queue = await admit_all(any_redis, "ann", 3)
    await make_due(any_redis, deferred)
    await any_redis.zincrby(keys.backlog("default"), -60_000, job(deferred))
    assert await try_claim(any_redis, deferred, slots=1) is None
    assert await in_order(any_redis, 2) == [job(queue[0]), job(deferred)]
    claim = await try_claim(any_redis, deferred, slots=2)
    assert claim is not None
    assert 0 <= claim.waited_ms < 60_000
    assert await in_order(any_redis) == [job(spec) for spec in queue]


async def test_fifty_contenders_claim_each_run_once_and_in_order(any_redis: Client) -> None:
    specs = [*await admit_all(any_redis, "ann", 5), *await admit_all(any_redis, "bob", 5)]
    expected = await in_order(any_redis)
    by_job = {job(spec): spec for spec in specs}
    claimed: list[str] = []
    while left := await in_order(any_redis):
        claims = await asyncio.gather(
            *(
                try_claim(any_redis, by_job[left[n % len(left)]], f"w{n}", slots=1)
                for n in range(CONTENDERS)
            )
        )
        round_jobs = [claim.job for claim in claims if claim is not None]
        assert round_jobs
        assert len(set(round_jobs)) == len(round_jobs)
        claimed += sorted(round_jobs, key=expected.index)
    assert claimed == expected


async def test_fifty_searches_at_once_charge_each_run_once(any_redis: Client) -> None:
    specs = [await admit(any_redis, a_spec(identity="ann"), delay_ms=60_000) for _ in range(10)]
    for n, spec in enumerate(specs):
        await any_redis.zadd(keys.queue("default"), {job(spec): 1 + n})
    await asyncio.gather(*(in_order(any_redis, 2) for _ in range(CONTENDERS)))
    assert await in_order(any_redis) == [job(spec) for spec in specs]
    tags = sorted((await queued(any_redis)).values())
    assert tags[-1] - tags[0] == pytest.approx(0.09, abs=1e-4)


async def test_a_stale_worker_moves_neither_a_run_nor_a_share(any_redis: Client) -> None:
    old, new = await overtaken(any_redis, a_spec(identity="ann"))
    await admit_all(any_redis, "bob", 2)
    before = await dump(any_redis)
    assert not await scripts.hand_back(any_redis, old)
    assert await try_claim(any_redis, old.spec, slots=5) is None
    assert await in_order(any_redis, 1)
    assert await dump(any_redis) == before
    assert (await queued(any_redis))[new.job] > LEASE_MS


# ── Processes of the version before meet this one on a queue ───────────────────────────────────


async def as_before(redis: Client, spec: RunSpec, due_ms: float) -> None:
    """Makes the run look as a process of the version before queues it: with no share, due by its time."""
    await redis.hdel(keys.run(spec.thread_id, spec.run_id), "share")  # type: ignore[misc]
    await redis.zadd(keys.queue("default"), {job(spec): due_ms})


async def test_runs_that_an_older_process_queued_get_tags_in_their_order(any_redis: Client) -> None:
    older = [await admit(any_redis) for _ in range(4)]
    for n, spec in enumerate(older):
        await as_before(any_redis, spec, 1 + n)
    await any_redis.delete(keys.shares("default"))
    newer = await admit_all(any_redis, "ann", 4)
    jobs = await in_order(any_redis, 7)
    assert jobs == [job(spec) for pair in zip(newer, older, strict=True) for spec in pair][:7]
    assert max((await queued(any_redis)).values()) < 0
    first, second = older[:2]
    await make_due(any_redis, first)  # older workers know no tags either
    assert await try_claim(any_redis, first, slots=1) is None
    assert await try_claim(any_redis, second) is not None


async def test_an_older_worker_gets_the_runs_by_their_tags(any_redis: Client) -> None:
    queue = await admit_all(any_redis, "ann", 3)
    [other] = await admit_all(any_redis, "bob", 1)
    # What its search for due jobs sends:
    due = await any_redis.zrangebyscore(keys.queue("default"), "-inf", 2e12, start=0, num=4)
    assert [member.decode() for member in due] == await in_order(any_redis)
    assert job(other) in [member.decode() for member in due[:2]]
    assert len(due) == len(queue) + 1
