"""A due time of a cron has one run, over any number of workers; what is changed is what was read."""

import asyncio
import sys
from collections import Counter
from typing import Any

import msgspec
import pytest

from contract.builders import (
    LONG_AGO,
    STREAM_TTL,
    a_spec,
    admit,
    dump,
    end,
    end_pending,
    new_id,
    running,
    take,
    thread_of,
    waiting,
)
from millstream.shared import assistants, crons, keys, runs, scripts, threads
from millstream.shared.assistants import GraphDirectory, default_assistant_id
from millstream.shared.crons import DISABLED_BECAUSE, CronContext, CronFilter, CronRecord
from millstream.shared.errors import NotFoundError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.runs import RunRecord
from millstream.shared.threads import new_thread_fields
from millstream.shared.wire import Cron, GraphInfo, RunRequest, unpack_kwargs

CONTENDERS = 50


async def a_cron(redis: Client, thread_id: str | None = None, **changes: Any) -> CronRecord:
    """Creates a cron that is due once a year; `strategy` is that of its runs."""
    strategy = changes.pop("strategy", "enqueue")
    fields: dict[str, Any] = {
        "cron_id": new_id(),
        "assistant_id": default_assistant_id("echo"),
        "thread_id": thread_id,
        "schedule": "0 0 1 1 *",
        "timezone": None,
        "end_time": None,
        "enabled": True,
        "on_run_completed": None if thread_id else "keep",
        "metadata": b"{}",
    }
    cron = Cron(**(fields | changes))
    request = RunRequest(
        assistant_id=cron.assistant_id,
        input={"of": cron.cron_id},
        multitask_strategy=strategy,
        creates_thread=thread_id is None,
        temporary=cron.on_run_completed == "delete",
    )
    return await crons.create(redis, cron, b'{"input":1}', request)


async def a_thread(redis: Client) -> str:
    thread_id = new_id()
    await scripts.create_thread(redis, thread_id, new_thread_fields({}))
    return thread_id


async def make_due(redis: Client, record: CronRecord, when: float = LONG_AGO) -> None:
    await redis.zadd(keys.crons(), {record.cron.cron_id: when}, xx=True)


async def score(redis: Client, record: CronRecord) -> float | None:
    found = await redis.zscore(keys.crons(), record.cron.cron_id)
    return None if found is None else float(found)


async def directory(redis: Client) -> GraphDirectory:
    await assistants.announce(redis, [GraphInfo(graph_id="echo", queue="default")])
    return GraphDirectory(redis)


async def fire(redis: Client, *, most: int = 100, max_live: int = 0) -> Counter[str]:
    firing = CronContext(redis, await directory(redis), max_live, STREAM_TTL)
    return await crons.fire_due(firing, limit=most, at_once=20)


async def fired(redis: Client) -> list[RunRecord]:
    """Returns the runs that are alive."""
    found = [await runs.find_run(redis, *ids[:2]) for ids in await runs.live_runs(redis)]
    return [record for record in found if record is not None]


# ── Fire ────────────────────────────────────────────────────────────────────────────────────


async def fire_at(
    redis: Client, record: CronRecord, due_ms: float, next_ms: int | None, **changes: Any
) -> str:
    """Fires as a worker that has seen that due time."""
    thread_id = record.cron.thread_id
    word, _ = await scripts.fire_cron(
        redis,
        record.cron,
        changes.get("version", record.version),
        due_ms=due_ms,
        next_ms=next_ms,
        spec=a_spec(thread_id or ""),
        new_thread=None if thread_id else new_thread_fields({}),
        max_live=0,
        stream_ttl=60,
    )
    return word


async def test_of_fifty_workers_one_fires(any_redis: Client) -> None:
    record = await a_cron(any_redis)
    await make_due(any_redis, record)
    tries = [fire_at(any_redis, record, LONG_AGO, 9_000_000_000_000) for _ in range(CONTENDERS)]
    words = Counter(await asyncio.gather(*tries))
    assert words == {"admitted": 1, "stale": CONTENDERS - 1}
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


async def test_each_run_has_a_thread_of_its_own(any_redis: Client) -> None:
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
        }
    await crons.delete(any_redis, record.cron.cron_id)


async def test_fifty_passes_at_once_fire_each_cron_once(any_redis: Client) -> None:
    records = [await a_cron(any_redis, await a_thread(any_redis)) for _ in range(30)]
    for record in records:
        await make_due(any_redis, record)
    passes = await asyncio.gather(*(fire(any_redis) for _ in range(CONTENDERS)))
    assert sum(done["admitted"] for done in passes) == len(records)
    assert not any(done["failed"] for done in passes)
    threads_of_runs = [run.spec.thread_id for run in await fired(any_redis)]
    assert sorted(threads_of_runs) == sorted(str(r.cron.thread_id) for r in records)


async def test_of_what_was_missed_the_newest_fires_once(any_redis: Client) -> None:
    record = await a_cron(any_redis, schedule="* * * * *")
    await make_due(any_redis, record, (record.read_at - 86_400) * 1000)
    assert [await fire(any_redis), await fire(any_redis)] == [{"admitted": 1}, {}]
    due = await score(any_redis, record)
    assert due is not None
    assert 0 < due / 1000 - record.read_at <= 120
    await crons.delete(any_redis, record.cron.cron_id)


async def test_those_that_are_due_longest_go_first_in_bounded_batches(any_redis: Client) -> None:
    records = [await a_cron(any_redis) for _ in range(5)]
    for number, record in enumerate(records):
        await make_due(any_redis, record, LONG_AGO + 5 - number)
    assert await fire(any_redis, most=2) == {"admitted": 2}
    kwargs = [unpack_kwargs(run.spec.kwargs) for run in await fired(any_redis)]
    first = {record.cron.cron_id for record in records[-2:]}
    assert {kwarg.input["of"] for kwarg in kwargs} == first
    assert await fire(any_redis) == {"admitted": 3}
    for record in records:
        await crons.delete(any_redis, record.cron.cron_id)


@pytest.mark.parametrize("strategy", ["enqueue", "reject", "interrupt", "rollback"])
async def test_a_busy_thread(any_redis: Client, strategy: str) -> None:
    claim = await running(any_redis)
    record = await a_cron(any_redis, claim.spec.thread_id, strategy=strategy)
    await make_due(any_redis, record)
    word = "busy" if strategy == "reject" else "admitted"
    assert await fire(any_redis) == {word: 1}
    assert await score(any_redis, record) == record.due_ms  # that time is over
    assert len(await waiting(any_redis, claim.spec.thread_id)) == (strategy != "reject")
    cancel = await runs.cancel_action(any_redis, claim.spec.thread_id, claim.spec.run_id)
    assert cancel == (strategy if strategy in ("interrupt", "rollback") else None)


@pytest.mark.parametrize("most", [0, 100])
async def test_runs_that_nobody_holds_are_ended_by_the_one_that_displaces_them(
    any_redis: Client, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the script that fires, or right after it if they are too many for it."""
    monkeypatch.setattr(sys.modules["millstream.shared.scripts.runs.admit"], "MAX_ENDED", most)
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


async def test_a_run_that_is_due_later_has_a_time_with_reject_passed_over(
    any_redis: Client,
) -> None:
    later = await admit(any_redis, delay_ms=60_000)
    record = await a_cron(any_redis, later.thread_id, strategy="reject")
    await make_due(any_redis, record)
    assert await fire(any_redis) == {"busy": 1}
    assert await score(any_redis, record) == record.due_ms
    await end_pending(any_redis, later)


async def test_without_room_it_waits_for_its_next_try(any_redis: Client) -> None:
    spec = await admit(any_redis)
    record = await a_cron(any_redis)
    await make_due(any_redis, record)
    before = await dump(any_redis)
    assert await fire(any_redis, max_live=1) == {"full": 1}
    after = await dump(any_redis)
    assert {**after, keys.graphs(): None} == {**before, keys.graphs(): None}
    await end_pending(any_redis, spec)
    assert await fire(any_redis, max_live=1) == {"admitted": 1}
    await crons.delete(any_redis, record.cron.cron_id)


async def test_after_its_end_nothing_fires(any_redis: Client) -> None:
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


async def test_a_cron_of_an_assistant_that_is_gone_is_disabled_and_says_why(
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


async def test_one_that_can_not_be_read_holds_nobody_up(any_redis: Client) -> None:
    broken, sound = await a_cron(any_redis), await a_cron(any_redis)
    await any_redis.hset(keys.cron(broken.cron.cron_id), "cron", b"\xc1")  # type: ignore[misc,arg-type]
    orphans: dict[bytes, float] = {b"\xff": LONG_AGO, b"nobody": LONG_AGO}
    await any_redis.zadd(keys.crons(), orphans)
    for record in (broken, sound):
        await make_due(any_redis, record, LONG_AGO + 1)
    assert await fire(any_redis) == {"admitted": 1, "failed": 1, "missing": 2}
    assert await fire(any_redis) == {}  # it is put off, and the others are none
    assert await crons.drop_orphans(any_redis) == 0
    assert [r.cron for r in await crons.find(any_redis, CronFilter())] == [sound.cron]
    assert await any_redis.zrem(keys.crons(), broken.cron.cron_id)
    await any_redis.delete(keys.cron(broken.cron.cron_id))
    await crons.delete(any_redis, sound.cron.cron_id)


# ── Create, change, delete ──────────────────────────────────────────────────────────────────


async def test_a_cron_is_created_once_and_on_a_thread_that_is_there(any_redis: Client) -> None:
    thread_id = await a_thread(any_redis)
    record = await a_cron(any_redis, thread_id)
    before = await dump(any_redis)
    again = [
        scripts.create_cron(any_redis, record.cron, payload=b"2", request=b"2", due_ms=1)
        for _ in range(CONTENDERS)
    ]
    assert set(await asyncio.gather(*again)) == {record.created_at}
    assert await dump(any_redis) == before
    with pytest.raises(NotFoundError):
        await a_cron(any_redis, new_id())
    assert await dump(any_redis) == before
    await threads.retire_thread(any_redis, thread_id)
    before = await dump(any_redis)
    with pytest.raises(NotFoundError):
        await a_cron(any_redis, thread_id)
    assert await dump(any_redis) == before
    assert await threads.delete_thread(any_redis, thread_id)


async def test_of_fifty_changes_of_the_same_one_is_made(any_redis: Client) -> None:
    record = await a_cron(any_redis)
    changed = [
        msgspec.structs.replace(record.cron, metadata=b"%d" % number)
        for number in range(CONTENDERS)
    ]
    request = RunRequest(assistant_id="a")
    done = await asyncio.gather(
        *(crons.change(any_redis, record, cron, b"{}", request) for cron in changed)
    )
    assert Counter(done) == {True: 1, False: CONTENDERS - 1}
    after = await crons.get(any_redis, record.cron.cron_id)
    assert after.cron == changed[done.index(True)]
    assert (after.version, after.payload, after.due_ms) == (1, b"{}", record.due_ms)
    assert after.updated_at > record.updated_at
    await crons.delete(any_redis, record.cron.cron_id)
    with pytest.raises(NotFoundError):
        await crons.change(any_redis, after, after.cron, b"{}", request)
    assert await dump(any_redis) == {}


async def test_a_change_of_something_else_loses_no_due_time(any_redis: Client) -> None:
    record = await a_cron(any_redis)
    await make_due(any_redis, record)
    request = RunRequest(assistant_id=record.cron.assistant_id, creates_thread=True)
    other = msgspec.structs.replace(record.cron, metadata=b'{"a":1}')
    assert await crons.change(any_redis, record, other, b"{}", request)
    assert await score(any_redis, record) == LONG_AGO
    record = await crons.get(any_redis, record.cron.cron_id)
    monthly = msgspec.structs.replace(other, schedule="0 0 1 * *")
    assert await crons.change(any_redis, record, monthly, b"{}", request)
    assert (await score(any_redis, record) or 0) > record.read_at * 1000
    await crons.delete(any_redis, record.cron.cron_id)


async def test_of_fifty_deletions_one_deletes(any_redis: Client) -> None:
    thread_id = await a_thread(any_redis)
    before = await dump(any_redis)
    record = await a_cron(any_redis, thread_id)
    tries = [
        scripts.delete_cron(any_redis, record.cron.cron_id, thread_id) for _ in range(CONTENDERS)
    ]
    assert Counter(await asyncio.gather(*tries)) == {True: 1, False: CONTENDERS - 1}
    assert await dump(any_redis) == before


# ── With its thread ─────────────────────────────────────────────────────────────────────────


async def test_a_cron_goes_with_its_thread(any_redis: Client) -> None:
    thread_id = await a_thread(any_redis)
    for _ in range(3):
        await a_cron(any_redis, thread_id)
    other = await a_cron(any_redis)
    await threads.retire_thread(any_redis, thread_id)
    assert await threads.delete_thread(any_redis, thread_id)
    assert [r.cron for r in await crons.find(any_redis, CronFilter())] == [other.cron]
    await crons.delete(any_redis, other.cron.cron_id)


async def test_one_that_is_due_while_its_thread_is_deleted_goes_too(any_redis: Client) -> None:
    thread_id = await a_thread(any_redis)
    record = await a_cron(any_redis, thread_id)
    await make_due(any_redis, record)
    await threads.retire_thread(any_redis, thread_id)
    assert await fire(any_redis) == {"missing": 1}
    assert await crons.find(any_redis, CronFilter()) == []
    assert await threads.delete_thread(any_redis, thread_id)


async def test_a_stray_is_found_and_others_are_left(any_redis: Client) -> None:
    spec = await admit(any_redis, a_spec(temporary=True))
    stray = await a_cron(any_redis, spec.thread_id)
    stays = [await a_cron(any_redis), await a_cron(any_redis, await a_thread(any_redis))]
    assert await crons.drop_orphans(any_redis) == 0
    await end(any_redis, await take(any_redis, spec))
    assert await crons.drop_orphans(any_redis) == 1
    with pytest.raises(NotFoundError):
        await crons.get(any_redis, stray.cron.cron_id)
    for record in stays:
        await crons.delete(any_redis, record.cron.cron_id)


# ── Found ───────────────────────────────────────────────────────────────────────────────────


async def test_find(any_redis: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crons, "PAGE", 2)
    thread_id = await a_thread(any_redis)
    metadata = b'{"team":{"name":"a","size":3},"tags":["x"]}'
    plain = await a_cron(any_redis)
    tagged = await a_cron(any_redis, metadata=metadata)
    threaded = await a_cron(any_redis, thread_id, enabled=False)
    everything = {r.cron.cron_id for r in (plain, tagged, threaded)}

    async def found(**wanted: Any) -> set[str]:
        return {r.cron.cron_id for r in await crons.find(any_redis, CronFilter(**wanted))}

    assert await found() == await found(metadata={}) == everything
    assert await found(thread_id=thread_id) == {threaded.cron.cron_id}
    assert await found(thread_id=new_id()) == await found(assistant_id=new_id()) == set()
    assert await found(assistant_id=plain.cron.assistant_id) == everything
    assert await found(enabled=False) == {threaded.cron.cron_id}
    assert await found(enabled=True) == everything - {threaded.cron.cron_id}
    for part in ({"team": {"name": "a"}}, {"tags": ["x"]}, {"team": {"size": 3}, "tags": ["x"]}):
        assert await found(metadata=part) == {tagged.cron.cron_id}
    others: list[Any] = [{"team": "a"}, {"tags": "x"}, {"team": {"size": True}}, {"none": None}]
    for part in others:
        assert await found(metadata=part) == set()
    for cron_id in everything:
        await crons.delete(any_redis, cron_id)
