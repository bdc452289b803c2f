"""The maximum number of runs of one identity is exact under races, crashes, repairs and deletions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from contract.builders import (
    STREAM_TTL,
    a_spec,
    admit,
    dump,
    end,
    end_pending,
    job,
    make_due,
    overtaken,
    running,
    take,
    try_claim,
)
from contract.crons import a_cron, fire, fired, score
from contract.crons import make_due as make_cron_due
from millstream.shared import crons, keys, repair, runs, scripts
from millstream.shared.access import Ask, Decision, User
from millstream.shared.errors import OverloadedError
from millstream.shared.redis import Client
from millstream.shared.rules.fair_shares import AdmissionLimits, identity_digest
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.wire import RunSpec

TWO = AdmissionLimits(max_live_of_identity=2)
End = Callable[[Client, RunSpec], Awaitable[object]]


async def count(redis: Client, identity: str = "ann") -> int:
    members = await redis.zrange(keys.identities(), 0, -1)
    return sum(member.decode().startswith(identity_digest(identity) + "/") for member in members)


async def test_an_identity_has_a_maximum_of_runs(any_redis: Client) -> None:
    first, _ = [await admit(any_redis, a_spec(identity="ann"), limits=TWO) for _ in range(2)]
    before = await dump(any_redis)
    with pytest.raises(OverloadedError, match=r"^2 of your runs .*MAX_RUNS_PER_USER") as refused:
        await admit(any_redis, a_spec(identity="ann"), limits=TWO)
    assert refused.value.retry_after > 0
    assert await dump(any_redis) == before
    await admit(any_redis, first, limits=TWO)  # a repeat adds no run
    await admit(any_redis, a_spec(identity="bob"), limits=TWO)
    await admit(any_redis, a_spec(identity="an"), limits=TWO)
    for _ in range(3):
        await admit(any_redis, a_spec(), limits=TWO)  # without an identity
    await end(any_redis, await take(any_redis, first))
    await admit(any_redis, a_spec(identity="ann"), limits=TWO)
    assert [await count(any_redis, name) for name in ("ann", "bob")] == [2, 1]


async def test_fifty_contenders_do_not_exceed_the_maximum(any_redis: Client) -> None:
    limits = AdmissionLimits(max_live_of_identity=20)
    admitted = await asyncio.gather(
        *(admit(any_redis, a_spec(identity="ann"), limits=limits) for _ in range(50)),
        return_exceptions=True,
    )
    assert sum(isinstance(reply, OverloadedError) for reply in admitted) == 30
    assert await count(any_redis) == 20


async def finished(redis: Client, spec: RunSpec) -> None:
    await end(redis, await take(redis, spec))


async def cancelled(redis: Client, spec: RunSpec) -> None:
    await end_pending(redis, spec)


async def displaced(redis: Client, spec: RunSpec) -> None:
    newer = await admit(redis, a_spec(spec.thread_id, strategy="interrupt"))
    await end_pending(redis, newer)


async def rolled_back(redis: Client, spec: RunSpec) -> None:
    newer = await admit(redis, a_spec(spec.thread_id, strategy="rollback"))
    await end_pending(redis, newer)


async def crashed(redis: Client, spec: RunSpec) -> None:
    await take(redis, spec)
    await make_due(redis, spec)
    await end(redis, await take(redis, spec, "w2"))


async def handed_back(redis: Client, spec: RunSpec) -> None:
    await scripts.hand_back(redis, await take(redis, spec))
    await end(redis, await take(redis, spec, "w2"))


async def thread_deleted(redis: Client, spec: RunSpec) -> None:
    await scripts.retire_thread(redis, spec.thread_id)
    await repair.finish_deletions(redis, stream_ttl=STREAM_TTL)


async def thread_lost(redis: Client, spec: RunSpec) -> None:
    await redis.delete(keys.thread(spec.thread_id))
    assert await try_claim(redis, spec) is None
    await repair.repair_runs(redis, lease_ms=1, stream_ttl=STREAM_TTL)
    await repair.repair_identities(redis)


async def ended_by_an_older_worker(redis: Client, spec: RunSpec) -> None:
    claim = await take(redis, spec)
    record = keys.run(spec.thread_id, spec.run_id)
    share = await redis.hget(record, "share")  # type: ignore[misc]
    await redis.hdel(record, "share")  # type: ignore[misc]
    await end(redis, claim)
    await redis.hset(record, "share", share)  # type: ignore[misc]
    assert await count(redis) == 1
    assert await repair.repair_identities(redis) == {"forgotten": 1}


ENDS: list[End] = [
    finished, cancelled, displaced, rolled_back, crashed, handed_back, thread_deleted, thread_lost,
    ended_by_an_older_worker,
]  # fmt: skip


@pytest.mark.parametrize("end_it", ENDS, ids=lambda each: each.__name__)
async def test_a_run_counts_until_its_end_however_it_ends(any_redis: Client, end_it: End) -> None:
    other = await admit(any_redis, a_spec(identity="bob"))
    spec = await admit(any_redis, a_spec(identity="ann"))
    assert await count(any_redis) == 1
    await end_it(any_redis, spec)
    assert [await count(any_redis, name) for name in ("ann", "bob")] == [0, 1]
    await end_pending(any_redis, other)
    assert not await any_redis.exists(keys.identities())


async def test_a_run_that_is_counted_as_live_again_counts_for_its_identity(
    any_redis: Client,
) -> None:
    claim = await running(any_redis, a_spec(identity="ann"))
    await any_redis.delete(keys.live(), keys.identities())
    await scripts.repair_run(any_redis, claim.job, "default", lease_ms=1, stream_ttl=STREAM_TTL)
    assert await count(any_redis) == 1
    await end(any_redis, claim)
    assert await count(any_redis) == 0


async def test_a_repair_keeps_live_runs_also_with_fifty_contenders(any_redis: Client) -> None:
    specs = [await admit(any_redis, a_spec(identity="ann")) for _ in range(3)]
    await any_redis.zadd(keys.identities(), {f"{identity_digest('ann')}/gone/gone": 0, "junk": 0})
    counts = await asyncio.gather(*(repair.repair_identities(any_redis) for _ in range(50)))
    assert sum(each.total() for each in counts) == 2
    assert await count(any_redis) == len(specs)


async def test_a_stale_worker_does_not_change_the_count(any_redis: Client) -> None:
    old, new = await overtaken(any_redis, a_spec(identity="ann"))
    assert not await scripts.hand_back(any_redis, old)
    assert await count(any_redis) == 1
    await end(any_redis, new)
    assert await count(any_redis) == 0


async def test_a_bulk_cancel_frees_all_places(any_redis: Client) -> None:
    specs = [await admit(any_redis, a_spec(identity="ann"), limits=TWO) for _ in range(2)]
    for spec in specs:
        await runs.cancel(
            any_redis,
            spec.thread_id,
            spec.run_id,
            action=CancelAction.INTERRUPT,
            stream_ttl=STREAM_TTL,
        )
    await admit(any_redis, a_spec(identity="ann"), limits=TWO)
    assert await count(any_redis) == 1
    assert job(specs[0]) not in str(await any_redis.zrange(keys.identities(), 0, -1))


class AllowAll:
    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        return Decision(value)


async def test_a_cron_of_an_identity_with_the_maximum_waits_and_delays_no_other(
    any_redis: Client,
) -> None:
    user = User.of({"identity": "ann"}).pack()
    full, other = await a_cron(any_redis, user=user), await a_cron(any_redis)
    spec = await admit(any_redis, a_spec(identity="ann"))
    for record in (full, other):
        await make_cron_due(any_redis, record)
    limits = AdmissionLimits(max_live_of_identity=1)
    assert await fire(any_redis, limits=limits, authorizer=AllowAll()) == {
        "admitted": 1,
        "failed": 1,
    }
    assert (await score(any_redis, full) or 0) > 1e12  # tried again in a minute
    await end_pending(any_redis, spec)
    await make_cron_due(any_redis, full)
    assert await fire(any_redis, limits=limits, authorizer=AllowAll()) == {"admitted": 1}
    assert await count(any_redis) == 1
    assert len(await fired(any_redis)) == 2
    for record in (full, other):
        await crons.delete(any_redis, record.cron.cron_id)
