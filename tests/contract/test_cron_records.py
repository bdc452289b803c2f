"""The records of crons: concurrent creations, updates and deletions, and searches."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from contract.builders import (
    LONG_AGO,
    a_spec,
    admit,
    dump,
    end,
    new_id,
    take,
)
from contract.crons import (
    CONTENDERS,
    a_cron,
    a_thread,
    fire,
    make_due,
    score,
)
from millstream.shared import crons, repair, scripts, threads
from millstream.shared.crons import CronFilter
from millstream.shared.errors import NotFoundError
from millstream.shared.redis import Client
from millstream.shared.wire import RunRequest


async def test_a_cron_is_created_once_on_an_existing_thread(any_redis: Client) -> None:
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


async def test_one_of_fifty_updates_succeeds(any_redis: Client) -> None:
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


async def test_an_update_of_another_field_keeps_the_due_time(any_redis: Client) -> None:
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


async def test_one_of_fifty_deletions_succeeds(any_redis: Client) -> None:
    thread_id = await a_thread(any_redis)
    before = await dump(any_redis)
    record = await a_cron(any_redis, thread_id)
    tries = [
        scripts.delete_cron(any_redis, record.cron.cron_id, thread_id) for _ in range(CONTENDERS)
    ]
    assert Counter(await asyncio.gather(*tries)) == {True: 1, False: CONTENDERS - 1}
    assert await dump(any_redis) == before


# ── With its thread ─────────────────────────────────────────────────────────────────────────


async def test_a_cron_is_deleted_with_its_thread(any_redis: Client) -> None:
    thread_id = await a_thread(any_redis)
    for _ in range(3):
        await a_cron(any_redis, thread_id)
    other = await a_cron(any_redis)
    await threads.retire_thread(any_redis, thread_id)
    assert await threads.delete_thread(any_redis, thread_id)
    assert [r.cron for r in await crons.find(any_redis, CronFilter())] == [other.cron]
    await crons.delete(any_redis, other.cron.cron_id)


async def test_a_due_cron_is_deleted_with_its_thread(any_redis: Client) -> None:
    thread_id = await a_thread(any_redis)
    record = await a_cron(any_redis, thread_id)
    await make_due(any_redis, record)
    await threads.retire_thread(any_redis, thread_id)
    assert await fire(any_redis) == {"missing": 1}
    assert await crons.find(any_redis, CronFilter()) == []
    assert await threads.delete_thread(any_redis, thread_id)


async def test_an_orphaned_cron_is_deleted_and_others_stay(any_redis: Client) -> None:
    spec = await admit(any_redis, a_spec(temporary=True))
    orphan = await a_cron(any_redis, spec.thread_id)
    stays = [await a_cron(any_redis), await a_cron(any_redis, await a_thread(any_redis))]
    assert await repair.drop_orphaned_crons(any_redis) == 0
    await end(any_redis, await take(any_redis, spec))
    assert await repair.drop_orphaned_crons(any_redis) == 1
    with pytest.raises(NotFoundError):
        await crons.get(any_redis, orphan.cron.cron_id)
    for record in stays:
        await crons.delete(any_redis, record.cron.cron_id)


# ── Found ───────────────────────────────────────────────────────────────────────────────────


async def test_crons_are_searched_by_their_fields(
    any_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crons, "PAGE", 2)
    thread_id = await a_thread(any_redis)
    metadata = b'{"team":{"name":"a","size":3},"tags":["x"]}'
    plain = await a_cron(any_redis)
    tagged = await a_cron(any_redis, metadata=metadata)
    threaded = await a_cron(any_redis, thread_id, enabled=False)
    everything = {r.cron.cron_id for r in (plain, tagged, threaded)}

    async def due_ms(**filters: Any) -> set[str]:
        return {r.cron.cron_id for r in await crons.find(any_redis, CronFilter(**filters))}

    assert await due_ms() == await due_ms(metadata={}) == everything
    assert await due_ms(thread_id=thread_id) == {threaded.cron.cron_id}
    assert await due_ms(thread_id=new_id()) == await due_ms(assistant_id=new_id()) == set()
    assert await due_ms(assistant_id=plain.cron.assistant_id) == everything
    assert await due_ms(enabled=False) == {threaded.cron.cron_id}
    assert await due_ms(enabled=True) == everything - {threaded.cron.cron_id}
    for part in ({"team": {"name": "a"}}, {"tags": ["x"]}, {"team": {"size": 3}, "tags": ["x"]}):
        assert await due_ms(metadata=part) == {tagged.cron.cron_id}
    others: list[Any] = [{"team": "a"}, {"tags": "x"}, {"team": {"size": True}}, {"none": None}]
    for part in others:
        assert await due_ms(metadata=part) == set()
    for cron_id in everything:
        await crons.delete(any_redis, cron_id)
