"""A worker's replies to calls for a thread's state, without an API."""

import json
import operator
from dataclasses import replace
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from millstream.shared import keys, scripts, threads
from millstream.shared.assistants import GraphDirectory
from millstream.shared.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)  # fmt: skip
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.settings import Settings
from millstream.shared.wire import Call
from millstream.worker.answers import VERBS, AnswerContext, state
from millstream.worker.checkpoints.checkpointing import FencedCheckpoints
from millstream.worker.graphs import GraphRegistry, GraphSource, Use

THREAD = "7c1d3c6e-0000-4000-8000-000000000001"
NEVER = 2.0**40  # s


class Items(TypedDict, total=False):
    items: Annotated[list[Any], operator.add]


def route(state: Items) -> str:
    if "raise" in state["items"]:
        raise KeyError("no way from here")
    return END


graph = (
    StateGraph(Items)
    .add_node("a", lambda _: {"items": ["a"]})
    .add_edge(START, "a")
    .add_conditional_edges("a", route)
    .compile()
)


@pytest.fixture
async def context(real_redis: Client) -> AnswerContext:
    registry = GraphRegistry([GraphSource("g", graph, None)])
    directory = GraphDirectory(real_redis)
    return AnswerContext(
        real_redis, registry, FencedCheckpoints(real_redis), Settings(max_event=10_000), directory
    )


async def ask(
    context: AnswerContext, verb: str, *, deadline: float = NEVER, **arguments: Any
) -> Any:
    defaults: dict[str, dict[str, Any]] = {
        "state": {"checkpoint": {"checkpoint_ns": ""}, "subgraphs": False, "select": []},
        "history": {
            "checkpoint": {"checkpoint_ns": ""}, "limit": 100, "before": None, "metadata": {},
            "select": [],
        },
        "update": {"checkpoint": {"checkpoint_ns": ""}, "values": None, "as_node": "a"},
        "seed": {"fields": threads.new_thread_fields({})},
    }  # fmt: skip
    arguments_passed = {
        "thread_id": THREAD,
        "assistant_id": "a1",
        **defaults.get(verb, {}),
        **arguments,
    }
    call = Call(call_id="c", verb=verb, graph_id="g", arguments=arguments_passed, deadline=deadline)
    return json.loads(await VERBS[verb](context, call))


async def seeded(context: AnswerContext, *items: Any) -> None:
    steps = [[{"values": {"items": [item]}, "as_node": "a"}] for item in items]
    assert await ask(context, "seed", supersteps=steps) == {"created": True}


async def test_a_thread_is_seeded_and_updated(context: AnswerContext) -> None:
    await seeded(context, 1, 2)
    assert await ask(context, "seed", supersteps=[[{"values": {}, "as_node": "a"}]]) == {
        "created": False
    }
    await ask(context, "update", values={"items": [3]})
    states = await ask(context, "history")
    assert [s["values"]["items"] for s in states] == [[1, 2, 3], [1, 2], [1]]
    record = await threads.get_thread(context.redis, THREAD)
    assert json.loads(record.values or b"") == {"items": [1, 2, 3]}


async def test_a_staged_update_is_invisible_to_others(context: AnswerContext) -> None:
    await seeded(context, 1)
    before = await ask(context, "history")
    staging = context.checkpointing.stage_update()
    saver = staging.saver
    async with context.registry.open("g", Use("threads.update", {}), saver) as opened:
        config: Any = {"configurable": {"thread_id": THREAD, "checkpoint_ns": ""}}
        for number in (2, 3):
            await opened.aupdate_state(config, {"items": [number]}, as_node="a")
        assert (await opened.aget_state(config)).values == {"items": [1, 2, 3]}
        there = (await opened.aget_state(config)).parent_config
        assert there is not None
        assert (await opened.aget_state(there)).values == {"items": [1, 2]}
    assert await ask(context, "history") == before
    [namespace] = staging.namespaces.values()
    assert len(namespace.checkpoints) == 2


async def test_history_pages_and_records_are_bounded(
    context: AnswerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seeded(context, *("x" * 1000 for _ in range(30)))
    monkeypatch.setattr(state, "MAX_REPLY_BYTES", 40_000)
    assert len(await ask(context, "history", limit=1)) == 1
    assert len(await ask(context, "history", select=["checkpoint_id"])) == 30
    # As many as fit; the next page starts before the last of them.
    seen, before = [], None
    while page := await ask(context, "history", limit=100, before=before):
        assert 1 <= len(page) < 30
        assert len(page) == 1 or len(json.dumps(page, separators=(",", ":"))) <= 40_000
        before = page[-1]["checkpoint_id"]
        seen += [len(each["values"]["items"]) for each in page]
    assert seen == list(range(30, 0, -1))
    small = replace(context, settings=replace(context.settings, max_history=1))
    assert [len(s["values"]["items"]) for s in await ask(small, "history", limit=9)] == [30]
    monkeypatch.setattr(state, "MAX_REPLY_BYTES", 20_000)
    with pytest.raises(TooLargeError, match=r"^select: "):
        await ask(context, "history", limit=1)
    monkeypatch.setattr(state, "MAX_REPLY_BYTES", 20_000)
    with pytest.raises(TooLargeError, match=r"^select: "):
        await ask(context, "state")
    # Larger than the limit of records: only the checkpoint has it, not the thread's record.
    record = await threads.get_thread(context.redis, THREAD)
    assert record.values is None


async def test_a_late_update_changes_nothing(context: AnswerContext) -> None:
    await seeded(context, 1)
    before = await ask(context, "history")
    with pytest.raises(UnavailableError, match="Nothing was written"):
        await ask(context, "update", values={"items": [2]}, deadline=1.0)
    with pytest.raises(UnavailableError):
        await ask(context, "seed", thread_id="t2", supersteps=[[{"values": {}, "as_node": "a"}]],
                  deadline=1.0)  # fmt: skip
    assert await ask(context, "history") == before
    assert not await context.redis.exists(keys.thread("t2"))


async def test_an_update_is_retried_after_a_run(
    context: AnswerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seeded(context, 1)
    stored = scripts.store_state
    tried: list[str] = []

    async def late(*arguments_passed: Any, **more: Any) -> str:
        if not tried:  # as after a run was claimed and ended
            await context.redis.hincrby(keys.thread(THREAD), "epoch", 1)  # type: ignore[misc]
        tried.append(await stored(*arguments_passed, **more))
        return str(tried[-1])

    monkeypatch.setattr(scripts, "store_state", late)
    await ask(context, "update", values={"items": [2]})
    assert tried == ["changed", "stored"]
    assert (await ask(context, "state"))["values"] == {"items": [1, 2]}


async def test_an_exception_of_the_graph_is_reported_and_changes_nothing(
    context: AnswerContext,
) -> None:
    await seeded(context, 1)
    before = await ask(context, "history")
    with pytest.raises(InvalidError, match=r"^values: .*KeyError.*no way from here"):
        await ask(context, "update", values={"items": ["raise"]})
    with pytest.raises(NotFoundError, match="missing"):
        await ask(context, "update", values={},
                  checkpoint={"checkpoint_ns": "", "checkpoint_id": "missing"})  # fmt: skip
    with pytest.raises(NotFoundError, match="nobody"):
        await ask(context, "update", values={}, thread_id="nobody")
    await context.redis.hset(keys.thread(THREAD), "active", "x")  # type: ignore[misc]
    with pytest.raises(ConflictError, match="busy"):
        await ask(context, "update", values={})
    assert await ask(context, "history") == before
    checkpoint = await scripts.get_checkpoint(context.redis, CheckpointNamespace(THREAD, ""), "")
    assert checkpoint is not None
    assert checkpoint.writes == b""
