"""The modes `tools` and `lifecycle`: the events of tools and subgraphs, in order with the other modes."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any, Literal, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.prebuilt.tool_node import ToolCallWithContext
from langgraph.types import Command, Send, interrupt

from millstream.worker.events import EventStream
from millstream.worker.graphs import Graph

Event = tuple[str, Any]


class Text(TypedDict, total=False):
    """The state of the subgraphs."""

    text: str


async def played(
    graph: Graph,
    modes: list[str],
    *,
    subgraphs: bool = False,
    graph_input: Any = None,
    events: bool = False,
) -> AsyncIterator[Event]:
    """Yields the events of a run, with namespaces reduced to the nodes' names."""
    stream = EventStream([*modes, "events"] if events else modes, subgraphs=subgraphs)
    config: Any = {"configurable": {"thread_id": "t"}, "run_id": uuid.uuid4()}
    async for name, data in stream.run(
        graph, input={} if graph_input is None else graph_input, config=config
    ):
        assert "__pregel_stream" not in data.decode()
        mode, *namespace = name.split("|")
        if mode != "events":
            yield (
                "|".join([mode, *(part.partition(":")[0] for part in namespace)]),
                json.loads(data),
            )


async def events_of(*args: Any, **kwargs: Any) -> list[Event]:
    return [event async for event in played(*args, **kwargs)]


def within(
    inner: Any, name: str = "child", state: Any = Text, saver: InMemorySaver | None = None
) -> Graph:
    """Returns a graph of two nodes, the second of which is a subgraph."""
    builder: Any = StateGraph(state)
    builder.add_node("before", lambda _: {})
    builder.add_node(name, inner)
    builder.add_edge(START, "before")
    builder.add_edge("before", name)
    builder.add_edge(name, END)
    compiled: Graph = builder.compile(name=f"around {name}", checkpointer=saver)
    return compiled


def one_node(work: Any, state: Any = Text) -> Graph:
    builder: Any = StateGraph(state)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    builder.add_edge("work", END)
    compiled: Graph = builder.compile(name="inner")
    return compiled


def asks(_: Text) -> Text:
    return {"text": interrupt("well?")}


def fails(_: Text) -> Text:
    raise ValueError("broken")


def plain_node(_: Text) -> Text:
    return {"text": "done"}


async def async_node(_: Text) -> Text:
    return {"text": "done"}


def lifecycle(events: list[Event]) -> list[tuple[str, str]]:
    return [(name, data["event"]) for name, data in events if name.startswith("lifecycle")]


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("work", [plain_node, async_node])
@pytest.mark.parametrize("subgraphs", [False, True])
async def test_subgraphs_start_and_end_in_order(work: Any, subgraphs: bool, events: bool) -> None:
    graph = within(within(one_node(work), "deeper"))
    modes = ["lifecycle", "updates", "tasks", "debug", "checkpoints", "custom"]
    seen = await events_of(graph, modes, subgraphs=subgraphs, events=events)
    assert lifecycle(seen) == [
        ("lifecycle|child", "started"), ("lifecycle|child|deeper", "started"),
        ("lifecycle|child|deeper", "completed"), ("lifecycle|child", "completed"),
    ]  # fmt: skip
    names = [name for name, _ in seen]
    started, ended = (
        names.index("lifecycle|child"),
        len(names) - names[::-1].index("lifecycle|child"),
    )
    assert all(started < n < ended for n, name in enumerate(names) if "child" in name and "|" in name
               and name != "lifecycle|child")  # fmt: skip
    first = next(data for name, data in seen if name.startswith("lifecycle"))
    assert first == {"event": "started", "namespace": first["namespace"], "graph_name": "child"}
    assert first["namespace"][0].startswith("child:")
    assert not [name for name in names if name.startswith("custom")]
    assert any(name.startswith("updates|") for name in names) is subgraphs


@pytest.mark.parametrize("subgraphs", [False, True])
async def test_other_modes_are_unchanged(subgraphs: bool) -> None:
    graph = within(
        one_node(lambda _: {"messages": [AIMessage("a", id="1")]}, MessagesState),
        "c",
        MessagesState,
    )
    modes = ["values", "updates", "messages-tuple", "custom", "tools"]
    without = await events_of(graph, modes, subgraphs=subgraphs)
    run_worker = await events_of(graph, [*modes, "lifecycle"], subgraphs=subgraphs)
    event_names = [name for name, _ in run_worker if not name.startswith("lifecycle")]
    assert event_names == [name for name, _ in without]
    assert [name for name, _ in run_worker if name.startswith("lifecycle")] == ["lifecycle|c"] * 2


@pytest.mark.parametrize("subgraphs", [False, True])
async def test_a_failing_subgraph_has_a_failed_event(subgraphs: bool) -> None:
    playing = played(within(one_node(fails)), ["lifecycle"], subgraphs=subgraphs)
    seen = [await anext(playing), await anext(playing)]
    with pytest.raises(ValueError, match="broken"):
        await anext(playing)
    assert lifecycle(seen) == [("lifecycle|child", "started"), ("lifecycle|child", "failed")]
    assert seen[-1][1]["error"] == {"error": "ValueError", "message": "broken"}


@pytest.mark.parametrize("subgraphs", [False, True])
async def test_an_interrupted_subgraph_resumes(subgraphs: bool) -> None:
    graph = within(one_node(asks), saver=InMemorySaver())
    first = await events_of(graph, ["lifecycle"], subgraphs=subgraphs)
    assert lifecycle(first) == [("lifecycle|child", "started"), ("lifecycle|child", "interrupted")]
    again = await events_of(
        graph, ["lifecycle"], subgraphs=subgraphs, graph_input=Command(resume="yes")
    )
    assert lifecycle(again) == [("lifecycle|child", "started"), ("lifecycle|child", "completed")]


# ── WorkerContext ───────────────────────────────────────────────────────────────────────────────────


@tool
def count(topic: Literal["one", "two"], runtime: ToolRuntime) -> str:
    """Counts."""
    runtime.emit_output_delta("half")
    return topic


@tool
def broken(topic: str) -> str:
    """Fails."""
    raise ValueError(f"no {topic}")


def tooled(*calls: tuple[str, str]) -> Graph:
    """Returns a graph that makes these calls (tool, text), all at once."""
    calls_made = [
        {"name": name, "args": {"topic": topic}, "id": f"call-{n}", "type": "tool_call"}
        for n, (name, topic) in enumerate(calls)
    ]
    builder: Any = StateGraph(MessagesState)
    builder.add_node("call", lambda _: {"messages": [AIMessage("", tool_calls=calls_made)]})
    builder.add_node("tools", ToolNode([count, broken], handle_tool_errors=True))
    builder.add_edge(START, "call")
    builder.add_edge("call", "tools")
    builder.add_edge("tools", END)
    compiled: Graph = builder.compile(name="tooled")
    return compiled


@pytest.mark.parametrize("events", [False, True])
async def test_tool_calls_have_start_and_end_events(events: bool) -> None:
    seen = await events_of(
        tooled(("count", "one")), ["tools", "updates"], events=events, graph_input={"messages": []}
    )
    assert [name for name, _ in seen] == ["updates", "tools", "tools", "tools", "updates"]
    started, half, ended = (data for name, data in seen if name == "tools")
    call = {"toolCallId": "call-0", "name": "count"}
    assert started == {"event": "on_tool_start", "input": {"topic": "one"}, **call}
    assert half == {"event": "on_tool_event", "data": "half", **call}
    assert ended.pop("output")["content"] == "one"
    assert ended == {"event": "on_tool_end", **call}


async def test_concurrent_tool_calls_have_separate_events() -> None:
    graph = tooled(("count", "one"), ("broken", "luck"), ("count", "two"))
    seen = [data for _, data in await events_of(graph, ["tools"], graph_input={"messages": []})]
    by_call = {
        call: [(data["event"], data["name"]) for data in seen if data["toolCallId"] == call]
        for call in ("call-0", "call-1", "call-2")
    }
    well = [("on_tool_start", "count"), ("on_tool_event", "count"), ("on_tool_end", "count")]
    assert by_call["call-0"] == by_call["call-2"] == well
    assert by_call["call-1"] == [("on_tool_start", "broken"), ("on_tool_error", "broken")]
    [failed] = [data for data in seen if data["event"] == "on_tool_error"]
    assert "no luck" in failed["error"]


@pytest.mark.parametrize("subgraphs", [False, True])
async def test_tool_calls_in_subgraphs_have_their_namespace(subgraphs: bool) -> None:
    graph = within(tooled(("count", "one")), "agent", MessagesState)
    seen = await events_of(graph, ["tools"], subgraphs=subgraphs, graph_input={"messages": []})
    assert {name for name, _ in seen} == ({"tools|agent"} if subgraphs else set())


async def test_a_subgraph_started_by_a_tool_names_the_call() -> None:
    inner = one_node(plain_node)

    @tool
    async def agent(topic: str) -> str:
        """Asks an agent."""
        return str((await inner.ainvoke({}))["text"])

    calls_made = [{"name": "agent", "args": {"topic": "x"}, "id": "call-7", "type": "tool_call"}]
    builder: Any = StateGraph(MessagesState)
    builder.add_node("call", lambda _: {"messages": [AIMessage("", tool_calls=calls_made)]})
    builder.add_node("tools", ToolNode([agent]))
    builder.add_edge(START, "call")
    builder.add_conditional_edges("call", _each_call, ["tools"])
    builder.add_edge("tools", END)
    for subgraphs in (False, True):
        seen = await events_of(
            builder.compile(), ["lifecycle"], subgraphs=subgraphs, graph_input={"messages": []}
        )
        assert [data["event"] for _, data in seen] == ["started", "completed"]
        assert seen[0][1]["tool_call_id"] == "call-7"


def _each_call(state: Any) -> list[Any]:
    return [
        Send(
            "tools",
            ToolCallWithContext(__type="tool_call_with_context", tool_call=call, state=state),
        )
        for call in state["messages"][-1].tool_calls
    ]
