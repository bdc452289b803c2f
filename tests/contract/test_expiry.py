"""A thread with a `ttl` expires that long after its last use, and is deleted or pruned."""

from typing import Any

import pytest

from contract.builders import (
    LONG_AGO,
    a_spec,
    admit,
    dump,
    end,
    end_pending,
    new_id,
    running,
    take,
)  # fmt: skip
from contract.test_store_state import staged, store
from millstream.shared import keys, runs, scripts, threads
from millstream.shared.assistants import GraphDirectory, announce
from millstream.shared.errors import ConflictError, NotFoundError
from millstream.shared.redis import Client
from millstream.shared.runs.submission import submission
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.threads import Ttl, checkpoints
from millstream.shared.wire import GraphInfo, Project, RunRequest
from millstream.worker.checkpoints.checkpointing import FencedCheckpoints
from millstream.worker.maintenance import expiry

HOUR = 3_600_000  # ms


async def a_thread(redis: Client, strategy: str = "delete") -> str:
    record = await threads.create_thread(
        redis, None, {}, if_exists="raise", ttl=Ttl(HOUR, strategy)
    )
    return record.thread_id


async def due(redis: Client, thread: str) -> float | None:
    score = await redis.zscore(keys.expiring(), thread)
    return None if score is None else float(score)


async def let_expire(redis: Client, thread: str) -> None:
    await redis.zadd(keys.expiring(), {thread: LONG_AGO})


async def expire(redis: Client) -> int:
    return await threads.expire(redis, limit=10, prune=FencedCheckpoints(redis).prune)


async def test_every_use_postpones_the_expiry(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    created = await threads.get_thread(any_redis, thread)
    assert created.ttl == Ttl(HOUR, "delete")
    assert await due(any_redis, thread) == pytest.approx(created.created_at / 1000 + HOUR, abs=1)

    async def pushed() -> bool:
        moved = await due(any_redis, thread) != LONG_AGO
        await let_expire(any_redis, thread)
        return moved

    await let_expire(any_redis, thread)
    spec = await admit(any_redis, a_spec(thread))
    assert await pushed()
    claim = await take(any_redis, spec)
    await end(any_redis, claim)
    assert await pushed()
    assert await store(any_redis, thread, await threads.idle_epoch(any_redis, thread)) == "stored"
    assert await pushed()
    await end_pending(any_redis, await admit(any_redis, a_spec(thread)))
    assert await pushed()
    later = await admit(any_redis, a_spec(thread), delay_ms=HOUR)
    seconds, _ = await any_redis.time()
    assert (await due(any_redis, thread) or 0) > seconds * 1000 + 1.9 * HOUR
    await end_pending(any_redis, later)


async def test_a_thread_without_a_ttl_is_never_due(any_redis: Client) -> None:
    claim = await running(any_redis)
    await end(any_redis, claim)
    assert await any_redis.zcard(keys.expiring()) == 0


async def test_an_expired_thread_is_deleted_with_all_its_keys(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    await end(any_redis, await running(any_redis, a_spec(thread)))
    assert await store(any_redis, thread, 1) == "stored"
    await let_expire(any_redis, thread)
    other = await a_thread(any_redis)
    assert await expire(any_redis) == 1
    with pytest.raises(NotFoundError):
        await threads.get_thread(any_redis, thread)
    assert not [key for key in await dump(any_redis) if thread in key]
    assert await due(any_redis, thread) is None
    assert (await threads.get_thread(any_redis, other)).thread_id == other


async def test_keep_latest_prunes_and_keeps_the_thread(any_redis: Client) -> None:
    thread = await a_thread(any_redis, "keep_latest")
    for epoch, name in enumerate(("c1", "c2")):
        assert await store(any_redis, thread, epoch, staged=staged(thread, name)) == "stored"
    await let_expire(any_redis, thread)
    assert await expire(any_redis) == 1
    page, _ = await scripts.list_checkpoints(
        any_redis, CheckpointNamespace(thread, ""), before=None, count=9
    )
    assert [score.checkpoint_id for score in page] == ["c2"]
    assert await due(any_redis, thread) is None
    assert (await threads.get_thread(any_redis, thread)).values == b'{"n":1}'
    await admit(any_redis, a_spec(thread))
    assert await due(any_redis, thread) is not None


@pytest.mark.parametrize("strategy", ["delete", "keep_latest"])
async def test_a_busy_thread_expires_later(any_redis: Client, strategy: str) -> None:
    thread = await a_thread(any_redis, strategy)
    claim = await running(any_redis, a_spec(thread))
    await let_expire(any_redis, thread)
    assert await expire(any_redis) == 0
    assert await expire(any_redis) == 0
    assert (await due(any_redis, thread) or 0) > LONG_AGO
    await end(any_redis, claim)
    await let_expire(any_redis, thread)
    assert await expire(any_redis) == 1


async def test_a_deferred_run_keeps_its_thread(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    spec = await admit(any_redis, a_spec(thread), delay_ms=HOUR)
    await let_expire(any_redis, thread)
    assert await expire(any_redis) == 0
    with pytest.raises(ConflictError):
        await threads.prune(any_redis, thread, "delete")
    await end_pending(any_redis, spec)
    await let_expire(any_redis, thread)
    assert await expire(any_redis) == 1


async def test_a_thread_used_at_the_last_moment_does_not_expire(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    assert await scripts.retire_thread(any_redis, thread, "due") == "early"
    assert not await scripts.forget_expiry(any_redis, thread, LONG_AGO)
    assert await scripts.forget_expiry(any_redis, thread, await due(any_redis, thread) or 0)
    assert await scripts.retire_thread(any_redis, thread, "due") == "early"
    assert await scripts.retire_thread(any_redis, new_id(), "idle") == "missing"


async def test_an_entry_without_a_thread_is_dropped(any_redis: Client) -> None:
    await let_expire(any_redis, new_id())
    assert await expire(any_redis) == 0
    assert await any_redis.zcard(keys.expiring()) == 0


async def test_deleting_a_thread_removes_its_entry(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    await threads.retire_thread(any_redis, thread)
    assert await threads.delete_thread(any_redis, thread)
    assert list(await dump(any_redis)) == [keys.garbage()]  # for an external checkpointer


async def test_one_worker_at_a_time_expires_threads(any_redis: Client) -> None:
    for _ in range(3):
        await let_expire(any_redis, await a_thread(any_redis))
    passes = [
        await expiry.run_once(any_redis, FencedCheckpoints(any_redis), every=60) for _ in range(3)
    ]
    assert passes == [3, 0, 0]


async def test_one_pass_expires_a_bounded_number_of_threads(
    any_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    for _ in range(7):
        await let_expire(any_redis, await a_thread(any_redis))
    checkpointing = FencedCheckpoints(any_redis)
    assert await expiry.run_once(any_redis, checkpointing, every=0.001, max_threads=5) == 5
    assert await any_redis.zcard(keys.expiring()) == 2


async def test_the_announced_ttl_applies_to_new_threads(any_redis: Client) -> None:
    directory = GraphDirectory(any_redis)
    assert threads.default_ttl(await directory.project()) is None
    project = Project(thread_ttl=0.5, thread_ttl_strategy="keep_latest")
    await announce(any_redis, [GraphInfo(graph_id="g", queue="default")], project)
    directory = GraphDirectory(any_redis)
    ttl = threads.default_ttl(await directory.project())
    assert ttl == Ttl(30_000, "keep_latest")
    graph = await directory.resolve("g")
    for temporary, expected in ((False, b"30000"), (True, None)):
        request = RunRequest(assistant_id="g", creates_thread=True, temporary=temporary)
        submitted = submission(request, graph, project, run_id=new_id(), thread_id=new_id())
        record = await runs.submit(any_redis, submitted, stream_ttl=60)
        thread = keys.thread(submitted.spec.thread_id)
        assert await any_redis.hget(thread, "ttl") == expected  # type: ignore[misc]
        await end_pending(any_redis, record.spec)


# ── Copies ──────────────────────────────────────────────────────────────────────────────────


async def test_a_copy_has_its_own_expiry(any_redis: Client) -> None:
    thread = await a_thread(any_redis)
    await end(any_redis, await running(any_redis, a_spec(thread)))
    assert await store(any_redis, thread, 1) == "stored"
    source: Any = await any_redis.hgetall(keys.thread(thread))  # type: ignore[misc]
    before = {key: held for key, held in (await dump(any_redis)).items() if thread in key}
    copy = await threads.copy_thread(any_redis, thread)
    score: Any = await any_redis.hgetall(keys.thread(copy.thread_id))  # type: ignore[misc]
    changed = {b"created_at", b"updated_at", b"state_updated_at", b"token", b"epoch", b"last_seq"}
    assert {k: v for k, v in score.items() if k not in changed} == {
        k: v for k, v in source.items() if k not in changed
    }
    assert copy.created_at > int(source[b"updated_at"])
    assert await due(any_redis, copy.thread_id) is not None
    for namespace in await checkpoints.list_namespaces(any_redis, thread):
        one = await scripts.get_checkpoint(any_redis, CheckpointNamespace(thread, namespace), "")
        other = await scripts.get_checkpoint(
            any_redis, CheckpointNamespace(copy.thread_id, namespace), ""
        )
        assert one == other is not None
    after = {key: held for key, held in (await dump(any_redis)).items() if thread in key}
    assert after == before


async def test_a_missing_or_busy_thread_is_not_copied(any_redis: Client) -> None:
    with pytest.raises(NotFoundError):
        await threads.copy_thread(any_redis, new_id())
    active = (await running(any_redis)).spec.thread_id
    thread = await a_thread(any_redis)
    await store(any_redis, thread, 0)
    before = await dump(any_redis)
    with pytest.raises(ConflictError):
        await threads.copy_thread(any_redis, active)
    assert await scripts.copy_thread(any_redis, thread, new_id(), [""]) == "changed"
    assert await dump(any_redis) == before
    await threads.retire_thread(any_redis, thread)
    before = await dump(any_redis)
    with pytest.raises(NotFoundError):
        await threads.copy_thread(any_redis, thread)
    assert await dump(any_redis) == before
