"""The fenced saver: LangGraph's own conformance suite, lossless types, fences and rollback."""

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, scripts
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client, connect
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts import Claim
from millstream.shared.threads import checkpoints
from millstream.shared.wire import PROTOCOL, RunSpec
from millstream.worker.checkpoints.saver import FencedSaver
from millstream.worker.checkpoints.unstorable import UnstorableError
from worker.stored_types import KNOWN

VALUES: dict[str, Any] = {
    "datetime": datetime(2026, 11, 22, 12, 30, tzinfo=UTC),
    "date": date(2026, 11, 22),
    "timedelta": timedelta(seconds=1.5),
    "uuid": uuid.UUID(int=7),
    "decimal": Decimal("1.10"),
    "set": {1, 2},
    "frozenset": frozenset({3}),
    "bytes": b"\x00\xff",
    "int keys": {1: "a", 2: {3: "b"}},
    "big": 2**62,
    "infinity": float("inf"),
    "none": None,
    "nul": "a\0b",
    "message": AIMessage(content="hi", id="1"),
    "many": list(range(1000)),
    **KNOWN,
}


async def claimed(redis: Client, thread_id: str) -> Claim:
    """Returns a claim of a run whose record has the status `running`."""
    run_id = str(uuid.uuid4())
    spec = RunSpec(
        protocol=PROTOCOL, run_id=run_id, thread_id=thread_id, assistant_id="a", graph_id="g",
        queue="default", strategy="enqueue", temporary=False, metadata=b"{}", kwargs=b"{}",
    )  # fmt: skip
    await redis.hset(  # type: ignore[misc]
        keys.run(thread_id, run_id), mapping={"fence": 1, "status": RunStatus.RUNNING.value}
    )
    return Claim(spec, keys.job_id(thread_id, run_id), 1, 1, None, 0)


async def put(
    saver: Any, config: RunnableConfig, values: dict[str, Any], *, parent: Checkpoint | None = None
) -> tuple[RunnableConfig, Checkpoint]:
    """Stores a checkpoint whose values are all new. Returns its config and the checkpoint."""
    checkpoint = empty_checkpoint()
    versions = dict(parent["channel_versions"]) if parent else {}
    new = {c: saver.get_next_version(versions.get(c), None) for c in values}
    checkpoint["channel_values"] = {**(parent["channel_values"] if parent else {}), **values}
    checkpoint["channel_versions"] = {**versions, **new}
    at = await saver.aput(config, checkpoint, {"source": "loop", "step": 1, "parents": {}}, new)
    return at, checkpoint


def on(thread_id: str, namespace: str = "") -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace}}


async def everything(redis: Client) -> dict[bytes, Any]:
    """Returns all keys with their values, except for run records."""
    dump = {}
    async for key in redis.scan_iter():
        if b":run:" not in key:
            dump[key] = await redis.dump(key)
    return dump


@pytest.fixture(params=["embedded", "without modules"])
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, saver_redis: Client
) -> AsyncIterator[Client]:
    """A client of the embedded server, and of one without modules."""
    if request.param == "embedded":
        yield saver_redis
        return
    with EmbeddedRedis(tmp_path, appendonly=False, modules=False) as plain:
        client = connect(plain.url)
        try:
            loaded = {module[b"name"] for module in await client.module_list()}
            assert not {b"search", b"ReJSON"} & loaded
            yield client
        finally:
            await client.aclose()


async def test_the_conformance_suite_of_langgraph_passes(server: Client) -> None:
    @checkpointer_test(name="FencedSaver")
    async def fenced() -> AsyncIterator[FencedSaver]:
        await server.flushdb()
        yield FencedSaver(server)

    report = await validate(fenced)
    assert set(report.results) == {capability.value for capability in Capability}
    assert all(result.detected and result.passed for result in report.results.values()), (
        report.to_dict()
    )


async def test_the_sync_interface_is_complete(
    saver_redis: Client,
) -> None:
    saver = FencedSaver(saver_redis)

    def in_a_thread() -> None:
        at: RunnableConfig = on("t")
        for n in range(3):
            version = saver.get_next_version(None, None)
            checkpoint = {
                **empty_checkpoint(),
                "channel_values": {"n": n},
                "channel_versions": {"n": version},
            }
            at = saver.put(at, checkpoint, {"run_id": f"r{n}"}, {"n": version})  # type: ignore[arg-type]
        saver.put_writes(at, [("n", 9)], "task")
        saver.copy_thread("t", "u")
        saver.prune(["t"])
        saver.delete_for_runs(["r0"])
        assert [t.checkpoint["channel_values"]["n"] for t in saver.list(on("u"))] == [2, 1]
        assert [t.checkpoint["channel_values"]["n"] for t in saver.list(on("t"))] == [2]
        fetched = saver.get_tuple(on("t"))
        assert fetched is not None
        assert fetched.pending_writes == [("task", "n", 9)]
        saver.prune(["t"], strategy="delete")
        saver.delete_thread("u")
        with pytest.raises(ValueError, match="keep_latest"):
            saver.prune(["t"], strategy="keep_all")

    await asyncio.to_thread(in_a_thread)
    assert await saver_redis.dbsize() == 0


def joined(old: list[Any], updates: Sequence[list[Any]]) -> list[Any]:
    return [*old, *(item for update in updates for item in update)]


class Log(TypedDict):
    """A state whose checkpoints hold only changes."""

    items: Annotated[list[Any], DeltaChannel(joined, snapshot_frequency=4)]


@pytest.mark.parametrize("steps", range(1, 10))
async def test_a_pruned_thread_with_a_delta_channel_is_read_unchanged(
    saver_redis: Client, steps: int
) -> None:
    builder = StateGraph(Log)
    builder.add_node("step", lambda state: {"items": [len(state["items"])]})
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda s: END if len(s["items"]) > steps else "step")
    graph = builder.compile(checkpointer=FencedSaver(saver_redis))
    await graph.ainvoke({"items": ["first"]}, on("t"), durability="sync")
    before = await graph.aget_state(on("t"))
    stored = await saver_redis.zcard(keys.checkpoint_index("t", ""))
    assert await checkpoints.prune(saver_redis, "t", keep_latest=True) > 0 or stored < 5
    after = await graph.aget_state(on("t"))
    assert after.values == before.values
    assert len(after.values["items"]) == steps + 1


@pytest.mark.parametrize("name", VALUES)
async def test_values_keep_their_types(saver_redis: Client, name: str) -> None:
    saver = FencedSaver(saver_redis)
    at, _ = await put(saver, on("t"), {"value": VALUES[name]})
    fetched = await saver.aget_tuple(at)
    assert fetched is not None
    value = fetched.checkpoint["channel_values"]["value"]
    assert value == VALUES[name]
    assert type(value) is type(VALUES[name])


async def test_nan_is_preserved(saver_redis: Client) -> None:
    saver = FencedSaver(saver_redis)
    at, _ = await put(saver, on("t"), {"value": float("nan")})
    fetched = await saver.aget_tuple(at)
    assert fetched is not None
    assert math.isnan(fetched.checkpoint["channel_values"]["value"])


async def test_unusual_thread_ids_and_namespaces_do_not_collide(saver_redis: Client) -> None:
    saver = FencedSaver(saver_redis)
    threads = ["a", "a:b", "{x}", "a b", "ü|*", "a-b|c,d.e"]
    spaces = ["", "child:1", "child:1|inner:2", "*"]
    for thread in threads:
        for space in spaces:
            await put(saver, on(thread, space), {"v": f"{thread}/{space}"})
    for thread in threads:
        for space in spaces:
            fetched = await saver.aget_tuple(on(thread, space))
            assert fetched is not None
            assert fetched.checkpoint["channel_values"] == {"v": f"{thread}/{space}"}
    for thread in threads:
        await saver.adelete_thread(thread)
    assert await saver_redis.dbsize() == 0


async def test_each_version_of_a_value_is_stored_once(saver_redis: Client) -> None:
    saver = FencedSaver(saver_redis)
    at, first = await put(saver, on("t"), {"big": "x" * 10_000, "n": 0})
    for n in range(5):
        at, first = await put(saver, at, {"n": n}, parent=first)
    assert await saver_redis.hlen(keys.checkpoint_values("t", "")) == 7  # type: ignore[misc]
    fetched = await saver.aget_tuple(at)
    assert fetched is not None
    assert fetched.checkpoint["channel_values"] == {"big": "x" * 10_000, "n": 4}


async def test_a_late_older_checkpoint_does_not_become_the_newest(
    saver_redis: Client,
) -> None:
    saver = FencedSaver(saver_redis)
    older = empty_checkpoint()
    newest, _ = await put(saver, on("t"), {"v": 2})
    await saver.aput(on("t"), older, {"source": "loop", "step": 0, "parents": {}}, {})
    head = await saver.aget_tuple(on("t"))
    assert head is not None
    assert head.config == newest


async def test_ten_thousand_checkpoints_list_and_read(saver_redis: Client) -> None:
    saver = FencedSaver(saver_redis)
    at: RunnableConfig = on("t")
    last: Checkpoint | None = None
    for n in range(1000):
        at, last = await put(saver, at, {"n": n}, parent=last)
    pipe = saver_redis.pipeline()
    for n in range(9000):  # older ones, only in the index: the cost of a page depends on its size
        pipe.zadd(keys.checkpoint_index("t", ""), {f"0{n:07}": 0})
    await pipe.execute()
    fetched = [t.checkpoint["channel_values"]["n"] async for t in saver.alist(on("t"), limit=120)]
    assert fetched == list(range(999, 879, -1))


async def test_writes_under_an_old_fence_are_rejected(saver_redis: Client) -> None:
    claim = await claimed(saver_redis, "t")
    saver = FencedSaver(saver_redis).bind(claim)
    at, checkpoint = await put(saver, on("t"), {"v": 1})
    await saver_redis.hset(keys.run("t", claim.spec.run_id), "fence", "2")  # type: ignore[misc]
    before = await everything(saver_redis)
    with pytest.raises(FencedError):
        await put(saver, at, {"v": 2}, parent=checkpoint)
    with pytest.raises(FencedError):
        await saver.aput_writes(at, [("v", 3)], "task")
    with pytest.raises(FencedError):
        await checkpoints.roll_back(saver_redis, claim)
    assert await everything(saver_redis) == before


@pytest.mark.parametrize("status", [s for s in RunStatus if s is not RunStatus.RUNNING])
async def test_an_ended_run_can_not_write(saver_redis: Client, status: RunStatus) -> None:
    claim = await claimed(saver_redis, "t")
    saver = FencedSaver(saver_redis).bind(claim)
    await saver_redis.hset(keys.run("t", claim.spec.run_id), "status", status.value)  # type: ignore[misc]
    with pytest.raises(FencedError):
        await put(saver, on("t"), {"v": 2})


async def test_a_rollback_restores_the_keys_byte_for_byte(saver_redis: Client) -> None:
    first = await claimed(saver_redis, "t")
    saver = FencedSaver(saver_redis).bind(first)
    at, checkpoint = await put(saver, on("t"), {"v": 1, "kept": "x" * 100})
    await put(saver, on("t", "child:1"), {"inner": 1})
    await saver.aput_writes(at, [("v", "pending"), ("__interrupt__", "ask")], "task-1")
    before = await everything(saver_redis)

    second = await claimed(saver_redis, "t")
    later = FencedSaver(saver_redis).bind(second)
    await later.aput_writes(at, [("__resume__", "yes"), ("__interrupt__", "again")], "task-1")
    await later.aput_writes(at, [("v", "other")], "task-2")
    next_at, _ = await put(later, at, {"v": 2}, parent=checkpoint)
    await later.aput_writes(next_at, [("v", 3)], "task-3")
    await put(later, on("t", "child:1"), {"inner": 2})
    await put(later, on("t", "child:2|deep:3"), {"deep": 2})
    assert await everything(saver_redis) != before

    await checkpoints.roll_back(saver_redis, second)
    assert await everything(saver_redis) == before
    await checkpoints.roll_back(saver_redis, second)
    assert await everything(saver_redis) == before


async def test_after_a_requested_rollback_the_run_stores_nothing(saver_redis: Client) -> None:
    claim = await claimed(saver_redis, "t")
    saver = FencedSaver(saver_redis).bind(claim)
    await saver_redis.hset(keys.run("t", claim.spec.run_id), "cancel", "rollback")  # type: ignore[misc]
    with pytest.raises(FencedError):
        await put(saver, on("t"), {"v": 1})
    with pytest.raises(FencedError):
        await saver.aput_writes(
            {"configurable": {**on("t")["configurable"], "checkpoint_id": "c"}}, [("v", 1)], "t"
        )


async def test_pending_writes_equal_those_of_the_in_memory_saver(saver_redis: Client) -> None:
    fenced, memory = FencedSaver(saver_redis), InMemorySaver()
    checkpoint = empty_checkpoint()
    fetched: list[CheckpointTuple | None] = []
    savers: list[Any] = [fenced, memory]
    for saver in savers:
        at = await saver.aput(on("t"), checkpoint, {"source": "loop", "step": 1, "parents": {}}, {})
        await saver.aput_writes(at, [("a", 1), ("b", 2)], "t2", "~1")
        await saver.aput_writes(at, [("a", 3)], "t1", "~2")
        await saver.aput_writes(
            at, [("a", 9), ("b", 9)], "t2", "~1"
        )  # again: the first writes stay
        await saver.aput_writes(at, [("__error__", "x")], "t1", "~2")
        await saver.aput_writes(
            at, [("__error__", "y")], "t1", "~2"
        )  # special channels: the last write stays
        fetched.append(await saver.aget_tuple(on("t")))
    assert fetched[0] is not None
    assert fetched[1] is not None
    assert fetched[0].pending_writes == fetched[1].pending_writes


async def test_sync_calls_in_the_event_loop_are_rejected_with_advice(saver_redis: Client) -> None:
    with pytest.raises(RuntimeError, match="asynchronous"):
        FencedSaver(saver_redis).get_tuple(on("t"))


class Order:
    """A guard that records its calls, and allows writes until the run is stopped."""

    def __init__(self) -> None:
        self.calls = 0
        self.given_up = False

    def check(self) -> None:
        if self.given_up:
            raise FencedError("given up")

    def refuse(self, error: UnstorableError) -> None:
        """Nothing is refused."""

    async def before_write(self) -> None:
        self.calls += 1
        self.check()


async def test_a_stopped_run_stores_nothing(saver_redis: Client) -> None:
    """A write of a stopping graph would look like completed work."""
    claim = await claimed(saver_redis, "t")
    guard = Order()
    saver = FencedSaver(saver_redis).bind(claim, guard)
    config = await saver.aput(on("t"), empty_checkpoint(), {"step": 1}, {})
    await saver.aput_writes(config, [("a", 1)], "task")
    assert guard.calls == 2
    guard.given_up = True
    with pytest.raises(FencedError):
        await saver.aput(config, empty_checkpoint(), {"step": 2}, {})
    with pytest.raises(FencedError):
        await saver.aput_writes(config, [("a", 2)], "other")
    fetched = await FencedSaver(saver_redis).aget_tuple(on("t"))
    assert fetched is not None
    assert (fetched.config, fetched.pending_writes) == (config, [("task", "a", 1)])


async def test_a_write_that_waits_for_redis_ends_when_the_run_is_stopped(
    saver_redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await claimed(saver_redis, "t")
    guard = Order()
    saver = FencedSaver(saver_redis).bind(claim, guard)
    tried = asyncio.Event()

    async def away(*_: Any, **__: Any) -> None:
        tried.set()
        raise ConnectionError("away")

    monkeypatch.setattr(scripts, "put_checkpoint", away)
    writing = asyncio.create_task(saver.aput(on("t"), empty_checkpoint(), {"step": 1}, {}))
    await asyncio.wait_for(tried.wait(), 10)
    guard.given_up = True
    with pytest.raises(FencedError):
        await asyncio.wait_for(writing, 10)
