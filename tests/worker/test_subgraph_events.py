"""The modes `tools` and `lifecycle`: what is told of tools and of subgraphs, in order with the other modes."""

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
    """What the subgraphs hand on."""

    text: str


async def played(
    graph: Graph,
    modes: list[str],
    *,
    subgraphs: bool = False,
    given: Any = None,
    events: bool = False,
) -> AsyncIterator[Event]:
    """Yields the events of a run; of namespaces only the nodes' names."""
    stream = EventStream([*modes, "events"] if events else modes, subgraphs=subgraphs)
    config: Any = {"configurable": {"thread_id": "t"}, "run_id": uuid.uuid4()}
    async for name, data in stream.run(graph, input={} if given is None else given, config=config):
        assert "__pregel_stream" not in data.decode()
        mode, *namespace = name.split("|")
        if mode != "events":
            yield (
                "|".join([mode, *(part.partition(":")[0] for part in namespace)]),
                json.loads(data),
            )


async def told(*args: Any, **kwargs: Any) -> list[Event]:
    return [event async for event in played(*args, **kwargs)]


def within(
    inner: Any, name: str = "child", state: Any = Text, saver: InMemorySaver | None = None
) -> Graph:
    """Returns a graph of two nodes, of which the second is a graph."""
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


def works(_: Text) -> Text:
    return {"text": "done"}


async def works_async(_: Text) -> Text:
    return {"text": "done"}


def lifecycle(events: list[Event]) -> list[tuple[str, str]]:
    return [(name, data["event"]) for name, data in events if name.startswith("lifecycle")]


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("work", [works, works_async])
@pytest.mark.parametrize("subgraphs", [False, True])
async def test_subgraphs_start_and_end_in_order(work: Any, subgraphs: bool, events: bool) -> None:
    graph = within(within(one_node(work), "deeper"))
    modes = ["lifecycle", "updates", "tasks", "debug", "checkpoints", "custom"]
    seen = await told(graph, modes, subgraphs=subgraphs, events=events)
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
async def test_it_changes_nothing_of_the_other_modes(subgraphs: bool) -> None:
    graph = within(
        one_node(lambda _: {"messages": [AIMessage("a", id="1")]}, MessagesState),
        "c",
        MessagesState,
    )
    modes = ["values", "updates", "messages-tuple", "custom", "tools"]
    without = await told(graph, modes, subgraphs=subgraphs)
    run_worker = await told(graph, [*modes, "lifecycle"], subgraphs=subgraphs)
    shown = [name for name, _ in run_worker if not name.startswith("lifecycle")]
    assert shown == [name for name, _ in without]
    assert [name for name, _ in run_worker if name.startswith("lifecycle")] == ["lifecycle|c"] * 2


@pytest.mark.parametrize("subgraphs", [False, True])
async def test_a_subgraph_that_fails(subgraphs: bool) -> None:
    playing = played(within(one_node(fails)), ["lifecycle"], subgraphs=subgraphs)
    seen = [await anext(playing), await anext(playing)]
    with pytest.raises(ValueError, match="broken"):
        await anext(playing)
    assert lifecycle(seen) == [("lifecycle|child", "started"), ("lifecycle|child", "failed")]
    assert seen[-1][1]["error"] == {"error": "ValueError", "message": "broken"}


@pytest.mark.parametrize("subgraphs", [False, True])
async def test_a_subgraph_that_waits_and_goes_on(subgraphs: bool) -> None:
    graph = within(one_node(asks), saver=InMemorySaver())
    first = await told(graph, ["lifecycle"], subgraphs=subgraphs)
    assert lifecycle(first) == [("lifecycle|child", "started"), ("lifecycle|child", "interrupted")]
    again = await told(graph, ["lifecycle"], subgraphs=subgraphs, given=Command(resume="yes"))
    assert lifecycle(again) == [("lifecycle|child", "started"), ("lifecycle|child", "completed")]


# ── WorkerContext ───────────────────────────────────────────────────────────────────────────────────


@tool
def count(word: Literal["one", "two"], runtime: ToolRuntime) -> str:
    """Count."""
    runtime.emit_output_delta("half")
    return word


@tool
def broken(word: str) -> str:
    """Fail."""
    raise ValueError(f"no {word}")


def tooled(*calls: tuple[str, str]) -> Graph:
    """Returns a graph that makes these calls (tool, word), all at once."""
    made = [
        {"name": name, "args": {"word": word}, "id": f"call-{n}", "type": "tool_call"}
        for n, (name, word) in enumerate(calls)
    ]
    builder: Any = StateGraph(MessagesState)
    builder.add_node("call", lambda _: {"messages": [AIMessage("", tool_calls=made)]})
    builder.add_node("tools", ToolNode([count, broken], handle_tool_errors=True))
    builder.add_edge(START, "call")
    builder.add_edge("call", "tools")
    builder.add_edge("tools", END)
    compiled: Graph = builder.compile(name="tooled")
    return compiled


@pytest.mark.parametrize("events", [False, True])
async def test_the_calls_of_a_tool(events: bool) -> None:
    seen = await told(
        tooled(("count", "one")), ["tools", "updates"], events=events, given={"messages": []}
    )
    assert [name for name, _ in seen] == ["updates", "tools", "tools", "tools", "updates"]
    started, half, ended = (data for name, data in seen if name == "tools")
    call = {"toolCallId": "call-0", "name": "count"}
    assert started == {"event": "on_tool_start", "input": {"word": "one"}, **call}
    assert half == {"event": "on_tool_event", "data": "half", **call}
    assert ended.pop("output")["content"] == "one"
    assert ended == {"event": "on_tool_end", **call}


async def test_calls_at_a_time_and_one_that_fails() -> None:
    graph = tooled(("count", "one"), ("broken", "luck"), ("count", "two"))
    seen = [data for _, data in await told(graph, ["tools"], given={"messages": []})]
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
async def test_tools_of_subgraphs(subgraphs: bool) -> None:
    graph = within(tooled(("count", "one")), "agent", MessagesState)
    seen = await told(graph, ["tools"], subgraphs=subgraphs, given={"messages": []})
    assert {name for name, _ in seen} == ({"tools|agent"} if subgraphs else set())


async def test_a_subgraph_names_the_call_that_started_it() -> None:
    inner = one_node(works)

    @tool
    async def agent(word: str) -> str:
        """Ask an agent."""
        return str((await inner.ainvoke({}))["text"])

    made = [{"name": "agent", "args": {"word": "x"}, "id": "call-7", "type": "tool_call"}]
    builder: Any = StateGraph(MessagesState)
    builder.add_node("call", lambda _: {"messages": [AIMessage("", tool_calls=made)]})
    builder.add_node("tools", ToolNode([agent]))
    builder.add_edge(START, "call")
    builder.add_conditional_edges("call", _each_call, ["tools"])
    builder.add_edge("tools", END)
    for subgraphs in (False, True):
        seen = await told(
            builder.compile(), ["lifecycle"], subgraphs=subgraphs, given={"messages": []}
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
