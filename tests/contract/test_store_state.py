"""An update of a thread's state is stored completely, or rejected without a change."""

import asyncio
from typing import Any

import pytest

from contract.builders import (
    STREAM_TTL,
    a_spec,
    admit,
    dump,
    end,
    make_due,
    new_id,
    running,
    take,
    thread_of,
    try_claim,
)  # fmt: skip
from millstream.shared import keys, scripts, threads
from millstream.shared.errors import ConflictError, NotFoundError
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.scripts.checkpoints.put_checkpoint import pack_references
from millstream.shared.scripts.script import Script
from millstream.shared.scripts.threads.store_state import StagedNamespace, store_state
from millstream.shared.threads import checkpoints

FOREVER = 2**52  # ms
FIELDS = {"idle_status": "idle", "status": "idle", "values": b'{"n":1}'}


def staged(thread: str, checkpoint: str = "c1") -> dict[CheckpointNamespace, StagedNamespace]:
    """Returns a checkpoint with one value and one write in two namespaces."""
    return {
        CheckpointNamespace(thread, namespace): StagedNamespace(
            {checkpoint: (b"record", pack_references("", "c0", [b"ch\0v"], []))},
            {b"ch\0v": b"value"},
            {"c0": b"\0\0\0\1w"},
        )
        for namespace in ("", "child:1")
    }


async def a_thread(redis: Client) -> str:
    thread = new_id()
    await scripts.create_thread(redis, thread, threads.new_thread_fields({}))
    return thread


async def store(redis: Client, thread: str, epoch: int | None, **changes: Any) -> str:
    arguments: dict[str, Any] = {"deadline_ms": FOREVER, "fields": FIELDS, "staged": staged(thread)}
    arguments |= changes
    what = arguments.pop("staged")
    return await store_state(redis, thread, what, epoch=epoch, stream_ttl=STREAM_TTL, **arguments)


async def test_an_update_stores_checkpoints_writes_and_fields(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    before = await threads.get_thread(any_redis, thread)
    epoch = await threads.idle_epoch(any_redis, thread)
    assert await store(any_redis, thread, epoch) == "stored"
    for checkpoint in staged(thread):
        stored = await scripts.get_checkpoint(any_redis, checkpoint, "")
        assert stored is not None
        assert (stored.checkpoint_id, stored.parent_id, stored.record) == ("c1", "c0", b"record")
        assert stored.values == {b"ch\0v": b"value"}
        writes = keys.checkpoint_writes(thread, checkpoint.name)
        assert await any_redis.hgetall(writes) == {b"c0": b"\0\0\0\1w"}  # type: ignore[misc]
    assert await checkpoints.list_namespaces(any_redis, thread) == ["", "child:1"]
    after = await threads.get_thread(any_redis, thread)
    assert after.values == b'{"n":1}'
    assert after.updated_at == after.state_updated_at > before.updated_at
    assert after.created_at == before.created_at
    assert await threads.idle_epoch(any_redis, thread) == epoch + 1


async def test_writes_are_added_to_existing_ones(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    for epoch in (0, 1):
        assert await store(any_redis, thread, epoch) == "stored"
    writes = await any_redis.hget(keys.checkpoint_writes(thread, ""), "c0")  # type: ignore[misc]
    assert writes == b"\0\0\0\1w" * 2


async def test_a_new_thread_starts_with_a_state(any_redis: Client) -> None:
    thread = new_id()
    fields = {**threads.new_thread_fields({"a": 1}), **FIELDS}
    assert await store(any_redis, thread, None, fields=fields) == "stored"
    stored = await threads.get_thread(any_redis, thread)
    assert (stored.metadata, stored.values) == ({"a": 1}, b'{"n":1}')
    before = await dump(any_redis)
    assert await store(any_redis, thread, None, fields=fields) == "exists"
    assert await dump(any_redis) == before


async def test_a_rejected_update_changes_nothing(any_redis: Client) -> None:
    nobody, thread = new_id(), await a_thread(any_redis)
    gone = await a_thread(any_redis)
    await threads.retire_thread(any_redis, gone)
    active = (await running(any_redis)).spec.thread_id
    admitted = (await admit(any_redis)).thread_id
    before = await dump(any_redis)
    for refused, epoch, reply in (
        (nobody, 0, "missing"),
        (gone, 0, "missing"),
        (active, 1, "busy"),
        (admitted, 0, "busy"),
        (thread, 1, "changed"),
        (thread, None, "exists"),
    ):
        assert await store(any_redis, refused, epoch) == reply
    assert await store(any_redis, thread, 0, deadline_ms=1) == "late"
    assert await store(any_redis, nobody, None, deadline_ms=1) == "late"
    assert await dump(any_redis) == before
    for refused in (nobody, gone):
        with pytest.raises(NotFoundError, match=refused):
            await threads.idle_epoch(any_redis, refused)
    for refused in (active, admitted):
        with pytest.raises(ConflictError, match=refused):
            await threads.idle_epoch(any_redis, refused)


async def test_one_of_fifty_updates_of_one_state_is_stored(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    replies = await asyncio.gather(
        *(store(any_redis, thread, 0, staged=staged(thread, f"c{n}")) for n in range(50))
    )
    assert sorted(replies) == ["changed"] * 49 + ["stored"]
    page, _ = await scripts.list_checkpoints(
        any_redis, CheckpointNamespace(thread, ""), before=None, count=99
    )
    assert [stored.checkpoint_id for stored in page] == [f"c{replies.index('stored')}"]


async def test_an_update_notices_a_run_that_ran_meanwhile(any_redis: Client) -> None:
    claim = await running(any_redis)
    thread = claim.spec.thread_id
    await end(any_redis, claim)
    epoch = await threads.idle_epoch(any_redis, thread)
    second = await take(any_redis, await admit(any_redis, a_spec(thread)))
    assert await store(any_redis, thread, epoch) == "busy"
    await end(any_redis, second)
    before = await dump(any_redis)
    assert await store(any_redis, thread, epoch) == "changed"  # also if the run left no trace
    assert await dump(any_redis) == before


async def test_a_deferred_run_does_not_block_an_update(any_redis: Client) -> None:
    spec = await admit(any_redis, delay_ms=60_000)
    assert await store(any_redis, spec.thread_id, 0) == "stored"
    await make_due(any_redis, spec)
    assert await try_claim(any_redis, spec) is not None
    assert (await thread_of(any_redis, spec))["epoch"] == "2"


async def test_pruning_starts_a_new_epoch(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    assert await store(any_redis, thread, 0) == "stored"
    await checkpoints.prune(any_redis, thread, keep_latest=True)
    assert await store(any_redis, thread, 1) == "changed"
    nobody = new_id()
    await checkpoints.prune(any_redis, nobody, keep_latest=True)
    assert not await any_redis.exists(keys.thread(nobody))


async def test_an_update_repeated_after_a_lost_reply_has_the_same_result(
    any_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = await a_thread(any_redis)
    call = Script.__call__
    states = []

    async def twice(self: Script, redis: Client, /, **arguments: Any) -> Any:
        await call(self, redis, **arguments)
        states.append(await dump(any_redis))
        again = await call(self, redis, **arguments)
        states.append(await dump(any_redis))
        return again

    monkeypatch.setattr(Script, "__call__", twice)
    assert await store(any_redis, thread, 0) == "stored"
    assert states[0] == states[1]
