"""Updates with an external checkpointer: the state after a concurrent change, or after a failed step."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from millstream.shared import keys, scripts, threads
from millstream.shared.assistants import GraphDirectory
from millstream.shared.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from millstream.shared.redis import Client
from millstream.shared.settings import Settings
from millstream.worker.answers import AnswerContext
from millstream.worker.checkpoints.checkpointing import ExternalCheckpoints
from millstream.worker.graphs import GraphRegistry, GraphSource
from worker.test_answers import THREAD, ask, graph

BROKEN = [[{"values": {"items": ["a"]}, "as_node": "a"}], [{"values": 7, "as_node": "a"}]]


class Keeper(InMemorySaver):
    """A checkpointer whose copy of a thread fails in the middle."""

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.storage[target_thread_id] = self.storage[source_thread_id]
        raise ConnectionError("the database is away")


@pytest.fixture
async def context(real_redis: Client) -> AnswerContext:
    registry = GraphRegistry([GraphSource("g", graph, None)])
    directory = GraphDirectory(real_redis)
    checkpointing = ExternalCheckpoints(real_redis, Keeper())
    return AnswerContext(real_redis, registry, checkpointing, Settings(), directory)


def config(thread: str = THREAD) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


async def items(context: AnswerContext) -> Any:
    loaded = await context.checkpointing.saver.aget_tuple(config())
    return None if loaded is None else loaded.checkpoint["channel_values"].get("items")


async def a_thread(context: AnswerContext) -> None:
    steps = [[{"values": {"items": ["first"]}, "as_node": "a"}]]
    assert await ask(context, "seed", supersteps=steps) == {"created": True}


async def test_a_failed_first_state_creates_no_thread(context: AnswerContext) -> None:
    with pytest.raises(InvalidError):
        await ask(context, "seed", supersteps=BROKEN)
    assert await items(context) is None
    assert not await threads.exists(context.redis, THREAD)


async def test_a_failed_first_state_keeps_a_concurrent_thread(
    context: AnswerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_thread(context)
    looks = iter([False, True])  # the id was taken right after the first read

    async def exists(redis: Client, thread_id: str) -> bool:
        return next(looks)

    monkeypatch.setattr(threads, "exists", exists)
    with pytest.raises(InvalidError):
        await ask(context, "seed", supersteps=BROKEN)
    assert (await items(context))[:1] == ["first"]


async def test_a_too_slow_update_is_reported_as_stored(context: AnswerContext) -> None:
    await a_thread(context)
    with pytest.raises(ConflictError, match=r"is stored, but the update took too long"):
        await ask(context, "update", values={"items": ["late"]}, deadline=0)
    assert await items(context) == ["first", "late"]


@pytest.mark.parametrize("meanwhile", ["run", "update"])
async def test_a_run_during_an_update_makes_it_a_conflict(
    context: AnswerContext, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    await a_thread(context)
    before = await threads.idle_epoch(context.redis, THREAD)
    if meanwhile == "run":
        await context.redis.hset(keys.thread(THREAD), "active", "somebody")  # type: ignore[misc]
    else:
        await ask(context, "update", values={"items": ["other"]})

    async def idle_epoch(redis: Client, thread_id: str) -> int:
        return before

    monkeypatch.setattr(threads, "idle_epoch", idle_epoch)
    with pytest.raises(ConflictError, match="met an active run"):
        await ask(context, "update", values={"items": ["mine"]})
    assert (await items(context))[-1] == "mine"


async def test_an_update_of_a_deleted_thread_stores_nothing(
    context: AnswerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def idle_epoch(redis: Client, thread_id: str) -> int:
        return 1

    monkeypatch.setattr(threads, "idle_epoch", idle_epoch)
    with pytest.raises(NotFoundError):
        await ask(context, "update", values={"items": ["orphan"]})
    assert await items(context) is None


async def test_an_incomplete_copy_is_deleted(context: AnswerContext) -> None:
    await a_thread(context)
    with pytest.raises(ConnectionError):
        await ask(context, "copy")
    assert isinstance(context.checkpointing, ExternalCheckpoints)
    assert list(context.checkpointing.saver.inner.storage) == [THREAD]  # type: ignore[attr-defined]
    with pytest.raises(RefusedError, match="Keeper, can't prune"):
        await ask(context, "prune")
    await scripts.retire_thread(context.redis, THREAD)
    with pytest.raises(NotFoundError):
        await ask(context, "copy")
