"""The scripts with a key: what they compare, copy and hand over stays sealed and can be opened."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from contract.builders import a_spec, admit, running, take
from millstream.shared import keys, scripts, threads
from millstream.shared.errors import ConflictError, SealedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.sealing import NO_KEYS, KeyRing
from millstream.shared.wire import SEALED

RING = KeyRing([b"k" * 32])
INTERRUPTS = b'{"task":[{"value":"secret?"}]}'


@pytest.fixture
def sealing_redis(any_redis: Client) -> Iterator[Any]:
    redis: Any = any_redis
    redis.key_ring = RING
    yield redis
    redis.key_ring = NO_KEYS


async def a_paused_thread(redis: Client) -> str:
    claim = await running(redis)
    await scripts.finish(
        redis,
        claim.spec,
        Cause.SUCCEEDED,
        fence=claim.fence,
        stream_ttl=60,
        thread={
            "idle_status": "interrupted",
            "interrupts": INTERRUPTS,
            "values": b'{"a":"secret"}',
        },
    )
    return claim.spec.thread_id


async def answer(redis: Client, thread_id: str, answers: bytes) -> str | None:
    """Returns the id of the run that answers, or None for one that was too late."""
    spec = a_spec(thread_id, strategy="reject")
    try:
        await scripts.admit(
            redis, spec, delay_ms=0, new_thread=None, stream_ttl=60, answers=answers
        )
    except ConflictError:
        return None
    return spec.run_id


async def test_fifty_answers_at_once_to_sealed_interrupts_admit_one_run(sealing_redis: Any) -> None:
    thread_id = await a_paused_thread(sealing_redis)
    record = await threads.get_thread(sealing_redis, thread_id)
    assert record.interrupts == INTERRUPTS
    assert (await sealing_redis.hget(keys.thread(thread_id), "interrupts")).startswith(SEALED)
    assert await answer(sealing_redis, thread_id, b'{"other":[]}') is None
    answered = await asyncio.gather(
        *(answer(sealing_redis, thread_id, INTERRUPTS) for _ in range(50))
    )
    assert len([run for run in answered if run is not None]) == 1


async def test_a_claim_returns_the_opened_spec(sealing_redis: Any) -> None:
    spec = await admit(sealing_redis, a_spec(kwargs=b'{"input":"secret"}', user=b"secret"))
    assert b"secret" not in await sealing_redis.hget(keys.run(spec.thread_id, spec.run_id), "spec")
    assert (await take(sealing_redis, spec)).spec == spec


async def test_fifty_copies_at_once_make_one_thread_that_can_be_read(sealing_redis: Any) -> None:
    source = await a_paused_thread(sealing_redis)
    await asyncio.gather(
        *(scripts.copy_thread(sealing_redis, source, "copy", []) for _ in range(50))
    )
    copied = await threads.get_thread(sealing_redis, "copy")
    assert (copied.values, copied.interrupts) == (b'{"a":"secret"}', INTERRUPTS)
    stored = await sealing_redis.hget(keys.thread("copy"), "values")
    await sealing_redis.hset(keys.thread(source), "values", stored)  # moved by a foreign hand
    with pytest.raises(SealedError, match="belongs to another record"):
        await threads.get_thread(sealing_redis, source)


async def test_a_copy_of_fields_that_have_changed_since_they_were_read_is_refused(
    sealing_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is stale: it has sealed the values that the thread had before."""
    source = await a_paused_thread(sealing_redis)
    read = sealing_redis.hmget

    async def then_change(*arguments: Any) -> Any:
        stored = await read(*arguments)
        newer = RING.seal(f"{source} values", b'{"a":"newer"}')
        await sealing_redis.hset(keys.thread(source), "values", newer)
        return stored

    monkeypatch.setattr(sealing_redis, "hmget", then_change)
    assert await scripts.copy_thread(sealing_redis, source, "copy", []) == "changed"
    assert not await sealing_redis.exists(keys.thread("copy"))
    monkeypatch.undo()
    assert (await threads.copy_thread(sealing_redis, source, "copy")).values == b'{"a":"newer"}'


async def test_a_thread_from_before_the_key_is_copied_sealed(sealing_redis: Any) -> None:
    sealing_redis.key_ring = NO_KEYS
    source = await a_paused_thread(sealing_redis)
    sealing_redis.key_ring = RING
    assert (await threads.copy_thread(sealing_redis, source, "copy")).interrupts == INTERRUPTS
    assert (await sealing_redis.hget(keys.thread("copy"), "values")).startswith(SEALED)
    assert not (await sealing_redis.hget(keys.thread(source), "values")).startswith(SEALED)
