"""A thread is created once; a second creation changes nothing."""

import asyncio

import pytest

from contract.builders import dump, new_id
from millstream.shared import key_lists, keys, scripts
from millstream.shared.errors import ConflictError, NotFoundError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import ThreadStatus
from millstream.shared.scripts.threads.create_thread import SCRIPT, arguments
from millstream.shared.threads import (
    create_thread,
    get_thread,
    new_thread_fields,
    require_thread,
)


async def test_a_thread_is_created_with_its_fields_and_one_time(any_redis: Client) -> None:
    thread = new_id()
    assert await scripts.create_thread(any_redis, thread, new_thread_fields({"a": "\u00fc"}))
    stored = await get_thread(any_redis, thread)
    assert stored.status is ThreadStatus.IDLE
    assert stored.metadata == {"a": "\u00fc"}
    assert stored.created_at == stored.updated_at == stored.state_updated_at > 1e15
    assert (stored.graph_id, stored.values, stored.error) == (None, None, None)
    held = await dump(any_redis)
    term = held[keys.thread(thread)][1][b"terms"].decode()
    assert set(held) - key_lists.permanent_keys([], []) == {term, keys.thread(thread)}


async def test_a_second_creation_changes_nothing(any_redis: Client) -> None:
    thread = new_id()
    await scripts.create_thread(any_redis, thread, new_thread_fields({"a": 1}))
    before = await dump(any_redis)
    assert not await scripts.create_thread(any_redis, thread, new_thread_fields({"a": 2}))
    with pytest.raises(ConflictError, match=thread):
        await create_thread(any_redis, thread, {"a": 3}, if_exists="raise")
    stored = await create_thread(any_redis, thread, {"a": 3}, if_exists="do_nothing")
    assert stored.metadata == {"a": 1}
    assert await dump(any_redis) == before


async def test_one_of_fifty_contenders_creates_the_thread(any_redis: Client) -> None:
    thread = new_id()
    created = await asyncio.gather(
        *(scripts.create_thread(any_redis, thread, new_thread_fields({"n": n})) for n in range(50))
    )
    assert sum(created) == 1
    assert (await get_thread(any_redis, thread)).metadata == {"n": created.index(True)}


async def test_a_missing_thread_is_not_found(any_redis: Client) -> None:
    thread = new_id()
    with pytest.raises(NotFoundError, match=thread):
        await get_thread(any_redis, thread)
    with pytest.raises(NotFoundError, match=thread):
        await require_thread(any_redis, thread)
    assert await dump(any_redis) == {}


async def test_a_creation_repeated_after_a_lost_reply_has_the_same_result(
    any_redis: Client,
) -> None:
    thread = new_id()
    fields = new_thread_fields({"a": 1})
    assert await SCRIPT(any_redis, **arguments(thread, "t1", fields)) == 1
    before = await dump(any_redis)
    assert await SCRIPT(any_redis, **arguments(thread, "t1", fields)) == 1
    assert await SCRIPT(any_redis, **arguments(thread, "t2", fields)) == 0
    assert await dump(any_redis) == before
