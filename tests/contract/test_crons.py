"""Each due time of a cron has one run, with any number of workers."""

import asyncio
import sys
from collections import Counter

import msgspec
import pytest

from contract.builders import (
    LONG_AGO,
    a_spec,
    admit,
    dump,
    end_pending,
    running,
    thread_of,
    waiting,
)
from contract.crons import (
    CONTENDERS,
    a_cron,
    a_thread,
    fire,
    fire_at,
    fired,
    make_due,
    score,
)
from millstream.shared import crons, keys, repair, runs
from millstream.shared.assistants import default_assistant_id
from millstream.shared.crons import DISABLED_BECAUSE, CronFilter
from millstream.shared.observer import RunObserver
from millstream.shared.redis import Client
from millstream.shared.rules.fair_shares import AdmissionLimits
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.wire import RunSpec, unpack_kwargs


async def test_one_of_fifty_workers_fires(any_redis: Client) -> None:
    record = await a_cron(any_redis)
    await make_due(any_redis, record)
    tries = [fire_at(any_redis, record, LONG_AGO, 9_000_000_000_000) for _ in range(CONTENDERS)]
    replies = Counter(await asyncio.gather(*tries))
    assert replies == {"admitted": 1, "stale": CONTENDERS - 1}
    [run] = await fired(any_redis)
    assert run.status is RunStatus.PENDING
    assert await score(any_redis, record) == 9_000_000_000_000
    await crons.delete(any_redis, record.cron.cron_id)


async def test_a_stale_worker_fires_nothing(any_redis: Client) -> None:
    record = await a_cron(any_redis)
    in_an_hour = (record.read_at + 3600) * 1000
    await make_due(any_redis, record, in_an_hour)
    before = await dump(any_redis)
    assert await fire_at(any_redis, record, in_an_hour, None) == "stale"  # not due yet
    assert await fire_at(any_redis, record, LONG_AGO, None) == "stale"  # fired by another
    assert await dump(any_redis) == before
    await make_due(any_redis, record)
    before = await dump(any_redis)
    old = record.version - 1
    assert await fire_at(any_redis, record, LONG_AGO, None, version=old) == "stale"  # changed since
    assert await dump(any_redis) == before
    await crons.delete(any_redis, record.cron.cron_id)
    assert await fire_at(any_redis, record, LONG_AGO, None) == "stale"  # deleted
    assert await dump(any_redis) == {}


class Admitted(RunObserver):
    """Notes the admitted runs."""

    def __init__(self) -> None:
        self.run_ids: list[str] = []

    def admitted(self, spec: RunSpec, delay_ms: int) -> None:
        assert delay_ms == 0
        self.run_ids.append(spec.run_id)


async def test_the_run_of_a_cron_is_reported_as_admitted(any_redis: Client) -> None:
    record = await a_cron(any_redis)
    await make_due(any_redis, record)
    observer = Admitted()
    for _ in range(2):
        await fire(any_redis, observer=observer)
    [run] = await fired(any_redis)
    assert observer.run_ids == [run.spec.run_id]
    await crons.delete(any_redis, record.cron.cron_id)


async def test_each_run_has_its_own_thread(any_redis: Client) -> None:
    record = await a_cron(any_redis)
    for _ in range(2):
        await make_due(any_redis, record)
        assert await fire(any_redis) == {"admitted": 1}
        assert await fire(any_redis) == {}
        assert await score(any_redis, record) == record.due_ms
    one, two = await fired(any_redis)
    assert one.spec.thread_id != two.spec.thread_id
    for run in (one, two):
        assert run.spec.thread_id == runs.stateless_thread_id(run.spec.run_id)
        kwargs = unpack_kwargs(run.spec.kwargs)
        assert kwargs.input == {"of": record.cron.cron_id}
        assert kwargs.config["configurable"] == {
            "run_id": run.spec.run_id,
            "thread_id": run.spec.thread_id,
            "graph_id": "echo",
            "assistant_id": default_assistant_id("echo"),
            "cron_id": record.cron.cron_id,
        }
    await crons.delete(any_redis, record.cron.cron_id)


async def test_fifty_passes_at_once_fire_each_cron_once(any_redis: Client) -> None:
    records = [await a_cron(any_redis, await a_thread(any_redis)) for _ in range(10)]
    for record in records:
        await make_due(any_redis, record)
    passes = await asyncio.gather(*(fire(any_redis) for _ in range(CONTENDERS)))
    assert sum(done["admitted"] for done in passes) == len(records)
    assert not any(done["failed"] for done in passes)
    threads_of_runs = [run.spec.thread_id for run in await fired(any_redis)]
    assert sorted(threads_of_runs) == sorted(str(r.cron.thread_id) for r in records)


async def test_only_the_newest_missed_due_time_fires(any_redis: Client) -> None:
    record = await a_cron(any_redis, schedule="* * * * *")
    await make_due(any_redis, record, (record.read_at - 86_400) * 1000)
    assert [await fire(any_redis), await fire(any_redis)] == [{"admitted": 1}, {}]
    due = await score(any_redis, record)
    assert due is not None
    assert 0 < due / 1000 - record.read_at <= 120
    await crons.delete(any_redis, record.cron.cron_id)


async def test_the_oldest_due_crons_fire_first_in_bounded_batches(any_redis: Client) -> None:
    records = [await a_cron(any_redis) for _ in range(5)]
    for number, record in enumerate(records):
        await make_due(any_redis, record, LONG_AGO + 5 - number)
    assert await fire(any_redis, limit=2) == {"admitted": 2}
    kwargs = [unpack_kwargs(run.spec.kwargs) for run in await fired(any_redis)]
    first = {record.cron.cron_id for record in records[-2:]}
    assert {kwarg.input["of"] for kwarg in kwargs} == first
    assert await fire(any_redis) == {"admitted": 3}
    for record in records:
        await crons.delete(any_redis, record.cron.cron_id)


@pytest.mark.parametrize("strategy", ["enqueue", "reject", "interrupt", "rollback"])
async def test_a_cron_on_a_busy_thread_follows_its_strategy(
    any_redis: Client, strategy: str
) -> None:
    claim = await running(any_redis)
    record = await a_cron(any_redis, claim.spec.thread_id, strategy=strategy)
    await make_due(any_redis, record)
    reply = "busy" if strategy == "reject" else "admitted"
    assert await fire(any_redis) == {reply: 1}
    assert await score(any_redis, record) == record.due_ms  # that time is over
    assert len(await waiting(any_redis, claim.spec.thread_id)) == (strategy != "reject")
    cancel = await runs.cancel_action(any_redis, claim.spec.thread_id, claim.spec.run_id)
    assert cancel == (strategy if strategy in ("interrupt", "rollback") else None)


@pytest.mark.parametrize("limit", [0, 100])
async def test_pending_runs_are_ended_by_the_displacing_run(
    any_redis: Client, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end in the firing script, or right after it if there are too many."""
    monkeypatch.setattr(sys.modules["millstream.shared.scripts.runs.admit"], "MAX_ENDED", limit)
    first = await admit(any_redis)
    second = await admit(any_redis, a_spec(first.thread_id))
    later = await admit(any_redis, a_spec(first.thread_id), delay_ms=60_000)
    record = await a_cron(any_redis, first.thread_id, strategy="interrupt")
    await make_due(any_redis, record)
    assert await fire(any_redis) == {"admitted": 1}
    for spec in (first, second, later):
        ended = await runs.get_run(any_redis, spec.thread_id, spec.run_id)
        assert ended.status is RunStatus.INTERRUPTED
    [run] = await fired(any_redis)
    assert (await thread_of(any_redis, first))["active"] == run.spec.run_id


async def test_a_deferred_run_makes_a_rejecting_cron_skip_its_time(
    any_redis: Client,
) -> None:
    later = await admit(any_redis, delay_ms=60_000)
    record = await a_cron(any_redis, later.thread_id, strategy="reject")
    await make_due(any_redis, record)
    assert await fire(any_redis) == {"busy": 1}
    assert await score(any_redis, record) == record.due_ms
    await end_pending(any_redis, later)


async def test_without_room_a_cron_is_retried(any_redis: Client) -> None:
    spec = await admit(any_redis)
    record = await a_cron(any_redis)
    await make_due(any_redis, record)
    before = await dump(any_redis)
    assert await fire(any_redis, limits=AdmissionLimits(max_live=1)) == {"full": 1}
    after = await dump(any_redis)
    assert {**after, keys.graphs(): None} == {**before, keys.graphs(): None}
    await end_pending(any_redis, spec)
    assert await fire(any_redis, limits=AdmissionLimits(max_live=1)) == {"admitted": 1}
    await crons.delete(any_redis, record.cron.cron_id)


async def test_a_cron_does_not_fire_after_its_end(any_redis: Client) -> None:
    seconds, _ = await any_redis.time()
    hour = 3_600_000_000
    over = await a_cron(any_redis, end_time=seconds * 1_000_000 - hour)
    assert (over.enabled, over.next_ms) == (False, None)
    assert await score(any_redis, over) == float("inf")
    await make_due(any_redis, over)
    assert [await fire(any_redis), await fire(any_redis)] == [{"over": 1}, {}]

    last = await a_cron(any_redis, end_time=seconds * 1_000_000 + hour)
    assert (last.enabled, last.next_ms) == (True, None)  # a year is longer
    await make_due(any_redis, last)
    assert await fire(any_redis) == {"admitted": 1}
    assert await score(any_redis, last) == float("inf")
    for record in (over, last):
        await crons.delete(any_redis, record.cron.cron_id)


async def test_a_disabled_cron_is_not_due(any_redis: Client) -> None:
    record = await a_cron(any_redis, enabled=False)
    assert (record.enabled, record.next_ms) == (False, None)
    assert await fire(any_redis) == {}
    await crons.delete(any_redis, record.cron.cron_id)


async def test_a_cron_of_a_deleted_assistant_is_disabled_with_the_reason(
    any_redis: Client,
) -> None:
    record = await a_cron(any_redis, assistant_id=default_assistant_id("gone"), metadata=b'{"a":1}')
    await make_due(any_redis, record)
    assert [await fire(any_redis), await fire(any_redis)] == [{"disabled": 1}, {}]
    after = await crons.get(any_redis, record.cron.cron_id)
    assert (after.enabled, after.next_ms) == (False, None)
    metadata = msgspec.json.decode(after.cron.metadata)
    assert metadata.keys() == {"a", DISABLED_BECAUSE}
    assert "assistant not found" in metadata[DISABLED_BECAUSE]
    await crons.delete(any_redis, record.cron.cron_id)


async def test_an_unreadable_cron_delays_no_other(any_redis: Client) -> None:
    broken, sound = await a_cron(any_redis), await a_cron(any_redis)
    await any_redis.hset(keys.cron(broken.cron.cron_id), "cron", b"\xc1")  # type: ignore[misc,arg-type]
    orphans: dict[bytes, float] = {b"\xff": LONG_AGO, b"nobody": LONG_AGO}
    await any_redis.zadd(keys.crons(), orphans)
    for record in (broken, sound):
        await make_due(any_redis, record, LONG_AGO + 1)
    assert await fire(any_redis) == {"admitted": 1, "failed": 1, "missing": 2}
    assert await fire(any_redis) == {}  # it is postponed, and the others are not due
    assert await repair.drop_orphaned_crons(any_redis) == 0
    assert [r.cron for r in await crons.find(any_redis, CronFilter())] == [sound.cron]
    assert await any_redis.zrem(keys.crons(), broken.cron.cron_id)
    await any_redis.delete(keys.cron(broken.cron.cron_id))
    await crons.delete(any_redis, sound.cron.cron_id)


# ── Create, change, delete ──────────────────────────────────────────────────────────────────
