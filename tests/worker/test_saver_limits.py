"""The fenced saver at its limits: long threads, unusual names, and cancels in the middle of a write."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph

from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.worker.checkpoints.saver import FencedSaver

MANY = 10_000
ODD = [
    "a", "a:b", "{x}", "}{", "a b", "ü|*", "a-b|c,d.e", "?[a]", "line\nbreak", "'\"\\", "%s{0}",
    "x" * 3000, "0", "\x01", "😀", "a/b", "a,b|c-d@e",
]  # fmt: skip


def on(thread_id: str, namespace: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    configurable = {"thread_id": thread_id, "checkpoint_ns": namespace}
    return {
        "configurable": configurable | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})
    }


def a_checkpoint(number: int, big: str = "") -> tuple[Any, Any]:
    """Returns a checkpoint with a new `n` and the old `big`, and its new versions."""
    versions = {"n": f"{number:032}.5", "big": "1.5"}
    checkpoint = empty_checkpoint() | {
        "id": f"{number:09}",
        "ts": "2026-11-22T12:00:00+00:00",
        "channel_values": {"n": number, "big": big},
        "channel_versions": versions,
    }
    return checkpoint, versions if number == 0 else {"n": versions["n"]}


async def put(saver: FencedSaver, thread: str, number: int, *, namespace: str = "") -> None:
    checkpoint, new = a_checkpoint(number, "x" * 100)
    parent = f"{number - 1:09}" if number else None
    metadata: Any = {"source": "loop", "step": number, "parents": {}, "run_id": f"r{number % 7}"}
    await saver.aput(on(thread, namespace, parent), checkpoint, metadata, new)


async def orphans(redis: Client, thread: str, namespace: str = "") -> set[bytes]:
    """Returns the stored values without a checkpoint that refers to them."""
    namespace_of = CheckpointNamespace(thread, namespace)
    stored, _ = await scripts.list_checkpoints(redis, namespace_of, before=None, count=2 * MANY)
    fields = await redis.hkeys(keys.checkpoint_values(thread, namespace))  # type: ignore[misc]
    return set(fields) - {field for checkpoint in stored for field in checkpoint.values}


async def took(work: Awaitable[Any]) -> float:
    """Returns the duration of a call in seconds."""
    begun = asyncio.get_running_loop().time()
    await work
    return asyncio.get_running_loop().time() - begun


async def test_a_thread_of_ten_thousand_checkpoints_is_usable(saver_redis: Client) -> None:
    saver = FencedSaver(saver_redis)
    for first in range(0, MANY, 50):
        await asyncio.gather(*(put(saver, "t", n) for n in range(first, first + 50)))
    head = await saver.aget_tuple(on("t"))
    assert head is not None
    assert head.checkpoint["channel_values"] == {"n": MANY - 1, "big": "x" * 100}
    old = await saver.aget_tuple(on("t", checkpoint_id=f"{7:09}"))
    assert old is not None
    assert old.checkpoint["channel_values"]["n"] == 7
    seen = [t.checkpoint["channel_values"]["n"] async for t in saver.alist(on("t"))]
    assert seen == list(range(MANY - 1, -1, -1))
    page = saver.alist(on("t"), before=on("t", checkpoint_id=f"{5000:09}"), limit=3)
    assert [t.checkpoint["channel_values"]["n"] async for t in page] == [4999, 4998, 4997]
    # No script may block Redis for as long as a lease.
    assert await took(saver.acopy_thread("t", "u")) < 5
    assert await took(saver.adelete_for_runs(["r3"])) < 5
    assert await saver_redis.zcard(keys.checkpoint_index("u", "")) == MANY - len(range(3, MANY, 7))
    assert await orphans(saver_redis, "u") == set()
    assert await took(saver.aprune(["t"])) < 5
    assert await saver_redis.hlen(keys.checkpoint_values("t", "")) == 2  # type: ignore[misc]
    assert await took(saver.adelete_thread("u")) < 5
    await saver.adelete_thread("t")
    assert await saver_redis.dbsize() == 0


async def test_every_operation_distinguishes_unusual_names(saver_redis: Client) -> None:
    saver = FencedSaver(saver_redis)
    for thread in ODD:
        for namespace in ("", *ODD[:6]):
            await put(saver, thread, 0, namespace=namespace)
            await put(saver, thread, 1, namespace=namespace)
            config = on(thread, namespace, f"{1:09}")
            await saver.aput_writes(config, [("n", [thread, namespace])], "task")
    for number, thread in enumerate(ODD):
        await saver.acopy_thread(thread, f"copy of {number}")
        await saver.aprune([thread])
        for name in (thread, f"copy of {number}"):
            for namespace in ("", *ODD[:6]):
                listed = [t async for t in saver.alist(on(name, namespace))]
                assert len(listed) == (1 if name == thread else 2)
                assert listed[0].pending_writes == [("task", "n", [thread, namespace])]
    await saver.adelete_for_runs(["r1"])
    for number, thread in enumerate(ODD):
        assert [t async for t in saver.alist(on(thread))] == []
        assert len([t async for t in saver.alist(on(f"copy of {number}"))]) == 1
        await saver.adelete_thread(f"copy of {number}")
        await saver.adelete_thread(thread)
    assert await saver_redis.dbsize() == 0


# ── Cancels ─────────────────────────────────────────────────────────────────────────────────


async def cancelled_at(point: int, work: Awaitable[Any]) -> bool:
    """Cancels the task after it has run `point` times. Returns False if it ended before."""
    task = asyncio.ensure_future(work)
    for _ in range(point):
        await asyncio.sleep(0)
        if task.done():
            await task
            return False
    task.cancel()
    await asyncio.wait({task})
    return task.cancelled()


Write = Callable[[FencedSaver], Awaitable[Any]]


async def _put(saver: FencedSaver) -> None:
    await put(saver, "t", 3)


async def _write(saver: FencedSaver) -> None:
    await saver.aput_writes(on("t", "", f"{2:09}"), [("n", 1), ("big", "y")], "task")


async def _prune(saver: FencedSaver) -> None:
    await saver.aprune(["t"])


async def _drop(saver: FencedSaver) -> None:
    await saver.adelete_for_runs(["r2"])


async def _copy(saver: FencedSaver) -> None:
    await saver.acopy_thread("t", "u")


async def _delete(saver: FencedSaver) -> None:
    await saver.adelete_thread("t")


async def held(redis: Client) -> dict[bytes, Any]:
    """Returns the contents of Redis in a comparable form."""
    listed: dict[bytes, Any] = {}
    client: Any = redis
    for key in [key async for key in client.scan_iter()]:
        match await client.type(key):
            case b"hash":
                listed[key] = await client.hgetall(key)
            case b"zset":
                listed[key] = await client.zrange(key, 0, -1)
            case _:
                listed[key] = await client.smembers(key)
    return listed


@pytest.mark.parametrize("write", [_put, _write, _prune, _drop, _copy, _delete])
async def test_a_cancel_at_any_point_keeps_the_old_or_the_new_state(
    saver_redis: Client, write: Write
) -> None:
    saver = FencedSaver(saver_redis)

    async def begin() -> dict[bytes, Any]:
        await saver_redis.flushdb()
        for number in range(3):
            await put(saver, "t", number)
        return await held(saver_redis)

    before = await begin()
    await write(saver)
    after = await held(saver_redis)
    outcomes, point = [], 0
    while True:
        assert await begin() == before
        cancelled = await cancelled_at(point, write(saver))
        # A sent command may be executed between two reads here: read again first.
        for _ in range(20):
            left = await held(saver_redis)
            if left in (before, after):
                break
            await asyncio.sleep(0.01)
        assert left in (before, after), point
        assert await orphans(saver_redis, "t") == set()
        outcomes.append(left == after)
        head = await saver.aget_tuple(on("t"))
        assert head is None or head.checkpoint["channel_values"]["big"] == "x" * 100
        if not cancelled:
            break
        point += 1
        assert point < 1000
    assert outcomes[-1]
    assert not outcomes[0]


class Count(TypedDict):
    """A state of one channel."""

    n: int


async def test_a_repeatedly_cancelled_graph_keeps_a_consistent_thread(
    saver_redis: Client,
) -> None:
    """Every checkpoint has its values and its parent, after any number of interrupted runs."""
    builder = StateGraph(Count)

    async def step(state: Count) -> Count:
        await asyncio.sleep(0.001)
        return {"n": state["n"] + 1}

    builder.add_node("step", step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda s: END if s["n"] % 10 == 0 else "step")
    graph: Any = builder.compile(checkpointer=FencedSaver(saver_redis))
    for number in range(30):
        run = asyncio.ensure_future(
            graph.ainvoke({"n": number}, on("t"), durability="sync" if number % 2 else "async")
        )
        await asyncio.wait({run}, timeout=0.002 + number * 0.001)
        run.cancel()
        await asyncio.wait({run})
    await asyncio.sleep(0.05)
    listed = [t async for t in FencedSaver(saver_redis).alist(on("t"))]
    ids = {t.config["configurable"]["checkpoint_id"] for t in listed}
    assert len(listed) > 10
    for checkpoint in listed:
        parent = checkpoint.parent_config
        assert parent is None or parent["configurable"]["checkpoint_id"] in ids
    assert sum(t.parent_config is None for t in listed) == 1
    assert await orphans(saver_redis, "t") == set()
