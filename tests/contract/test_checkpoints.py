"""The scripts for checkpoints are fenced and atomic, and leave no key over."""

import asyncio
from typing import Any

import pytest

from contract.builders import a_spec, dump, end, new_id, overtaken, running, write
from millstream.shared import keys, scripts, threads
from millstream.shared.errors import ConflictError, FencedError
from millstream.shared.redis import Client
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Claim
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.threads import checkpoints


async def put(
    redis: Client,
    claim: Claim | None,
    checkpoint_id: str,
    *,
    thread_id: str = "",
    namespace: str = "",
    parent: str = "",
    fields: dict[str, str] | None = None,
    also: list[str] | None = None,
    built: list[str] | None = None,
    run_id: str = "",
) -> None:
    """Stores a checkpoint with new values, `fields`, that also refers to older values, `also`."""
    new = {f.replace("@", "\0").encode(): v.encode() for f, v in (fields or {}).items()}
    old = [f.replace("@", "\0").encode() for f in also or []]
    await scripts.put_checkpoint(
        redis,
        CheckpointNamespace(thread_id or (claim.spec.thread_id if claim else "t"), namespace),
        claim,
        checkpoint_id=checkpoint_id,
        parent_id=parent,
        run_id=run_id or (claim.spec.run_id if claim else ""),
        record=f"record {checkpoint_id}".encode(),
        fields=[*new, *old],
        values=new,
        built=[f"{channel}\0".encode() for channel in built or []],
    )


async def add(
    redis: Client, claim: Claim | None, checkpoint_id: str, *, thread_id: str = "",
    namespace: str = "", value: bytes = b"write",
) -> None:  # fmt: skip
    """Adds one pending write."""
    run_id = claim.spec.run_id if claim else ""
    thread_id = thread_id or (claim.spec.thread_id if claim else "t")
    framed = b"".join(len(w).to_bytes(4, "big") + w for w in (run_id.encode(), value))
    await scripts.put_writes(
        redis, CheckpointNamespace(thread_id, namespace), claim, checkpoint_id=checkpoint_id,
        run_id=run_id, entries=framed,
    )  # fmt: skip


async def ids(redis: Client, thread_id: str, namespace: str = "") -> list[str]:
    members = await redis.zrange(keys.checkpoint_index(thread_id, namespace), 0, -1)
    return [i.decode() for i in members]


async def fields_of(redis: Client, thread_id: str, namespace: str = "") -> set[str]:
    key = keys.checkpoint_values(thread_id, namespace)
    members: list[bytes] = await redis.hkeys(key)  # type: ignore[misc]
    return {f.decode().replace("\0", "@") for f in members}


async def of_thread(redis: Client, thread_id: str) -> dict[str, Any]:
    """Returns the keys of a thread's checkpoints with their values, without the thread's id."""
    held = await dump(redis)
    tag = f"{{{thread_id}}}"
    return {k.replace(tag, "T"): v for k, v in held.items() if f"{tag}:checkpoints" in k}


async def forget(redis: Client, *thread_ids: str) -> None:
    """Deletes the checkpoints of threads without a record."""
    for thread_id in thread_ids:
        await checkpoints.delete_thread(redis, thread_id)
    assert not await redis.exists(keys.runs_with_checkpoints())


# ── Prune ───────────────────────────────────────────────────────────────────────────────────


async def test_keep_latest_keeps_the_head_of_each_namespace_and_its_values(
    any_redis: Client,
) -> None:
    for namespace in ("", "child:1"):
        await put(any_redis, None, "1", namespace=namespace, fields={"a@1": "x", "b@1": "y"})
        await add(any_redis, None, "1", namespace=namespace)
        await put(
            any_redis, None, "2", namespace=namespace, parent="1", fields={"a@2": "z"}, also=["b@1"]
        )
        await add(any_redis, None, "2", namespace=namespace)
        await add(any_redis, None, "3", namespace=namespace)  # of a later checkpoint
    before = await scripts.get_checkpoint(any_redis, CheckpointNamespace("t", ""), "2")
    assert await checkpoints.prune(any_redis, "t", keep_latest=True) == 2
    for namespace in ("", "child:1"):
        assert await ids(any_redis, "t", namespace) == ["2"]
        assert await fields_of(any_redis, "t", namespace) == {"a@2", "b@1"}
        left = await any_redis.hkeys(keys.checkpoint_writes("t", namespace))  # type: ignore[misc]
        assert sorted(left) == [b"2", b"3"]
    assert await scripts.get_checkpoint(any_redis, CheckpointNamespace("t", ""), "2") == before
    after = await dump(any_redis)
    assert await checkpoints.prune(any_redis, "t", keep_latest=True) == 0
    assert await dump(any_redis) == after
    assert await checkpoints.prune(any_redis, "t", keep_latest=False) == 2
    assert await dump(any_redis) == {}


async def test_keep_latest_keeps_the_values_that_a_delta_channel_needs(
    any_redis: Client,
) -> None:
    await put(any_redis, None, "1", fields={"log@1": "whole", "n@1": "1"})
    await put(any_redis, None, "2", parent="1", fields={"log@2": "whole", "n@2": "2"})
    await put(any_redis, None, "3", parent="2", also=["log@3", "n@2"], built=["log"])
    await add(any_redis, None, "3", value=b"a change")
    # A channel with the same prefix, or a fork, does not count.
    await put(any_redis, None, "3x", parent="2", fields={"log@9": "of another branch"})
    await put(
        any_redis, None, "4", parent="3", fields={"logs@4": "x"}, also=["log@4"], built=["log"]
    )
    assert await checkpoints.prune(any_redis, "t", keep_latest=True) == 2
    assert await ids(any_redis, "t") == ["2", "3", "4"]
    assert await fields_of(any_redis, "t") == {"log@2", "n@2", "logs@4"}
    assert await any_redis.hkeys(keys.checkpoint_writes("t", "")) == [b"3"]  # type: ignore[misc]
    await forget(any_redis, "t")


async def test_only_the_holder_prunes_a_busy_thread(any_redis: Client) -> None:
    claim = await running(any_redis)
    thread_id = claim.spec.thread_id
    await put(any_redis, claim, "1")
    await put(any_redis, claim, "2", parent="1")
    before = await dump(any_redis)
    for keep in (True, False):
        with pytest.raises(ConflictError, match="busy"):
            await checkpoints.prune(any_redis, thread_id, keep_latest=keep)
    assert await dump(any_redis) == before
    assert await checkpoints.prune(any_redis, thread_id, keep_latest=True, claim=claim) == 1
    await end(any_redis, claim)
    assert await checkpoints.prune(any_redis, thread_id, keep_latest=False) == 1


async def test_pruning_removes_runs_without_checkpoints_from_the_index(any_redis: Client) -> None:
    for run_id, checkpoint_id in (("r1", "1"), ("r2", "2")):
        await put(any_redis, None, checkpoint_id, run_id=run_id)
    assert await checkpoints.prune(any_redis, "t", keep_latest=True) == 1
    assert await any_redis.zrange(keys.runs_with_checkpoints(), 0, -1) == [b"r2\0t"]
    await forget(any_redis, "t")


# ── Copy ────────────────────────────────────────────────────────────────────────────────────
# Changes after a copy are tested on a real server only: in fakeredis both keys of a COPY share one
# value.


async def test_a_copy_is_complete_and_independent_of_its_source(real_redis: Client) -> None:
    await put(real_redis, None, "1", run_id="r1", fields={"a@1": "x"})
    await put(real_redis, None, "2", run_id="r2", parent="1", also=["a@1"])
    await put(real_redis, None, "1", namespace="child:1", fields={"b@1": "y"})
    await add(real_redis, None, "2")
    source = await of_thread(real_redis, "t")
    await checkpoints.copy_thread(real_redis, "t", "u")
    await checkpoints.copy_thread(real_redis, "t", "u")  # the same again
    assert await of_thread(real_redis, "u") == source == await of_thread(real_redis, "t")
    await checkpoints.copy_thread(real_redis, "t", "t")
    await checkpoints.delete_for_runs(real_redis, ["r1"])  # of both
    assert await ids(real_redis, "t") == await ids(real_redis, "u") == ["2"]
    await checkpoints.delete_thread(real_redis, "t")
    members = await scripts.get_checkpoint(real_redis, CheckpointNamespace("u", ""), "")
    assert members is not None
    assert members.values == {b"a\0001": b"x"}
    await forget(real_redis, "u")


async def test_a_copy_is_merged_into_the_target(any_redis: Client) -> None:
    await put(any_redis, None, "2", fields={"a@1": "x"})
    await put(any_redis, None, "1", thread_id="u", fields={"a@0": "old"})
    await put(any_redis, None, "1", thread_id="u", namespace="own")
    await checkpoints.copy_thread(any_redis, "t", "u")
    assert await ids(any_redis, "u") == ["1", "2"]
    assert await fields_of(any_redis, "u") == {"a@0", "a@1"}
    assert await checkpoints.list_namespaces(any_redis, "u") == ["", "own"]
    await forget(any_redis, "t", "u")


# ── By run ──────────────────────────────────────────────────────────────────────────────────


async def test_the_checkpoints_of_runs_are_found_in_every_thread_and_namespace(
    any_redis: Client,
) -> None:
    for thread_id in ("t", "u", "x y|*"):
        await put(any_redis, None, "1", thread_id=thread_id, run_id="r1", fields={"a@1": "x"})
        await put(any_redis, None, "2", thread_id=thread_id, run_id="r10", parent="1", also=["a@1"])
        await put(any_redis, None, "3", thread_id=thread_id, namespace="child:1", run_id="r1")
    await checkpoints.delete_for_runs(any_redis, ["r1", "unknown"])
    for thread_id in ("t", "u", "x y|*"):
        assert await ids(any_redis, thread_id) == ["2"]
        assert await fields_of(any_redis, thread_id) == {"a@1"}
        assert await checkpoints.list_namespaces(any_redis, thread_id) == [""]
    await checkpoints.delete_for_runs(any_redis, ["r10"])
    assert await dump(any_redis) == {}


async def test_a_deleted_thread_removes_its_runs_from_the_index(any_redis: Client) -> None:
    claim = await running(any_redis)
    thread_id = claim.spec.thread_id
    await put(any_redis, claim, "1")
    await add(any_redis, claim, "1", namespace="child:1")
    await end(any_redis, claim)
    assert await any_redis.zcard(keys.runs_with_checkpoints()) == 1
    await threads.retire_thread(any_redis, thread_id)
    assert await threads.delete_thread(any_redis, thread_id)
    assert not await any_redis.exists(keys.runs_with_checkpoints(), keys.checkpoint_runs(thread_id))


async def test_writes_of_another_run_survive_a_rollback_in_a_new_namespace(
    any_redis: Client,
) -> None:
    first = await running(any_redis)
    await add(any_redis, None, "1", thread_id=first.spec.thread_id, namespace="child:1")
    await add(any_redis, first, "1", namespace="child:1")
    await checkpoints.roll_back(any_redis, first)
    assert await checkpoints.list_namespaces(any_redis, first.spec.thread_id) == ["child:1"]


# ── Fences and contenders ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("situation", ["overtaken", "ended", "rolled back"])
async def test_a_stale_worker_changes_nothing(any_redis: Client, situation: str) -> None:
    if situation == "overtaken":
        stale, new = await overtaken(any_redis)
        await put(any_redis, new, "1")
        await put(any_redis, new, "2", parent="1")
    else:
        stale = await running(any_redis)
        await put(any_redis, stale, "1")
        await put(any_redis, stale, "2", parent="1")
    spec = stale.spec
    if situation == "ended":
        await end(any_redis, stale)
    if situation == "rolled back":
        await scripts.cancel(any_redis, spec.thread_id, spec.run_id, CancelAction.ROLLBACK)
    before = await dump(any_redis)
    for attempt in (
        put(any_redis, stale, "3"),
        add(any_redis, stale, "2"),
        checkpoints.prune(any_redis, spec.thread_id, keep_latest=True, claim=stale),
        checkpoints.prune(any_redis, spec.thread_id, keep_latest=False, claim=stale),
        checkpoints.delete_thread(any_redis, spec.thread_id, stale),
        checkpoints.copy_thread(any_redis, spec.thread_id, new_id(), stale),
    ):
        with pytest.raises(FencedError):
            await attempt
    if situation != "rolled back":  # only then may the holder roll back
        with pytest.raises(FencedError):
            await checkpoints.roll_back(any_redis, stale)
        with pytest.raises(FencedError):
            await checkpoints.delete_for_runs(any_redis, [spec.run_id], stale)
    assert await dump(any_redis) == before
    assert not await write(any_redis, stale, 1, "values", b"{}") or situation == "rolled back"


async def test_fifty_writers_and_pruners_keep_a_thread_consistent(real_redis: Client) -> None:
    async def one(n: int) -> None:
        name = f"{n:02}"
        await put(
            real_redis, None, name, run_id=f"r{n}", namespace=f"n{n % 3}", fields={f"a@{n}": "x"}
        )
        await add(real_redis, None, name, namespace=f"n{n % 3}")
        match n % 5:
            case 0:
                await checkpoints.prune(real_redis, "t", keep_latest=True)
            case 1:
                await checkpoints.copy_thread(real_redis, "t", "u")
            case 2:
                await checkpoints.delete_for_runs(real_redis, [f"r{n}"])
            case 3:
                await checkpoints.prune(real_redis, "u", keep_latest=True)

    await asyncio.gather(*(one(n) for n in range(50)))
    for thread_id in ("t", "u"):
        for namespace in await checkpoints.list_namespaces(real_redis, thread_id):
            checkpoint_namespace = CheckpointNamespace(thread_id, namespace)
            stored, _ = await scripts.list_checkpoints(
                real_redis, checkpoint_namespace, before=None, count=100
            )
            assert [s.checkpoint_id for s in reversed(stored)] == await ids(
                real_redis, thread_id, namespace
            )
            referred = {f.decode().replace("\0", "@") for s in stored for f in s.values}
            assert await fields_of(real_redis, thread_id, namespace) == referred
            assert all(len(s.values) == 1 for s in stored)
    await checkpoints.delete_for_runs(real_redis, [f"r{n}" for n in range(50)])
    left = {key for key in await dump(real_redis) if ":checkpoints:writes:" not in key}
    assert left <= {keys.checkpoint_namespaces("t"), keys.checkpoint_namespaces("u")}
    await forget(real_redis, "t", "u")


async def test_of_fifty_workers_only_the_holder_prunes(any_redis: Client) -> None:
    old, new = await overtaken(any_redis, a_spec())
    for n in range(5):
        await put(any_redis, new, str(n), fields={f"a@{n}": "x"})
    thread_id = new.spec.thread_id
    tried = await asyncio.gather(
        *(
            checkpoints.prune(any_redis, thread_id, keep_latest=True, claim=old if n % 2 else new)
            for n in range(50)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(t, FencedError) for t in tried) == 25
    assert sorted(t for t in tried if isinstance(t, int)) == [0] * 24 + [4]
    assert await fields_of(any_redis, thread_id) == {"a@4"}
