"""LangGraph's native events → the events of the protocol: every channel, each event once, in its namespace."""

import asyncio
import json
import operator
import uuid
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.stream import StreamChannel, StreamTransformer
from langgraph.types import interrupt

from millstream.shared.events.protocol import MARK
from millstream.worker.encode import show_interrupt
from millstream.worker.graphs import Graph
from millstream.worker.protocol_stream import ProtocolStream, input_requested

Event = tuple[str, tuple[str, ...], Any]  # method, names of the namespace, data


class State(TypedDict, total=False):
    items: Annotated[list[Any], operator.add]


def of_nodes(state: Any, *nodes: Any, saver: bool = True, **compiling: Any) -> Graph:
    """Returns a graph that executes these nodes one after the other."""
    builder: Any = StateGraph(state)
    builder.add_sequence(nodes)
    builder.add_edge(START, nodes[0][0])
    builder.add_edge(nodes[-1][0], END)
    compiled: Graph = builder.compile(checkpointer=InMemorySaver() if saver else None, **compiling)
    return compiled


async def stream_events(
    stream: ProtocolStream, graph: Graph, graph_input: Any = None
) -> list[Event]:
    """Runs the graph. Returns its events without ids and times."""
    config: Any = {"configurable": {"thread_id": "t"}, "run_id": uuid.uuid4()}
    received = []
    async for name, data in stream.run(
        graph, input={"items": []} if graph_input is None else graph_input, config=config
    ):
        params = json.loads(data)
        assert name.startswith(MARK)
        assert set(params) == {"namespace", "timestamp", "data"}
        assert params["timestamp"] > 1e12
        names = tuple(part.partition(":")[0] for part in params["namespace"])
        received.append((name.removeprefix(MARK), names, params["data"]))
    return received


def only(received: list[Event], method: str) -> list[tuple[tuple[str, ...], Any]]:
    return [(names, data) for which, names, data in received if which == method]


def add(item: Any) -> Any:
    return lambda _: {"items": [item]}


async def test_values_updates_tasks_checkpoints_and_subgraphs_are_translated() -> None:
    inner = of_nodes(State, ("deep", add(2)), saver=False)
    stream = ProtocolStream()
    received = await stream_events(stream, of_nodes(State, ("one", add(1)), ("child", inner)))
    assert only(received, "values") == [
        ((), {"items": []}),
        ((), {"items": [1]}),
        (("child",), {"items": [1]}),
        (("child",), {"items": [1, 2]}),
        ((), {"items": [1, 1, 2]}),
    ]
    assert only(received, "updates") == [
        ((), {"node": "one", "values": {"items": [1]}}),
        (("child",), {"node": "deep", "values": {"items": [2]}}),
        ((), {"node": "child", "values": {"items": [1, 2]}}),
    ]
    tasks = [(names, data["name"], "result" in data) for names, data in only(received, "tasks")]
    assert tasks == [
        ((), "one", False), ((), "one", True), ((), "child", False),
        (("child",), "deep", False), (("child",), "deep", True), ((), "child", True),
    ]  # fmt: skip
    lifecycle = only(received, "lifecycle")
    assert [(names, data["event"], data["graph_name"]) for names, data in lifecycle] == [
        (("child",), "started", "child"), (("child",), "completed", "child"),
    ]  # fmt: skip
    root = [data for names, data in only(received, "checkpoints") if not names]
    assert [(data["step"], data["source"]) for data in root] == [
        (-1, "input"), (0, "loop"), (1, "loop"), (2, "loop"),
    ]  # fmt: skip
    assert "parent_id" not in root[0]
    assert [data["parent_id"] for data in root[1:]] == [data["id"] for data in root[:-1]]
    assert (stream.newest.values, stream.paused) == ({"items": [1, 1, 2]}, False)
    assert json.loads(stream.newest.to_json() or b"") == stream.newest.values


async def test_custom_events_and_projections_are_translated() -> None:
    class Count(StreamTransformer):
        """Counts updates, for clients that subscribe to `custom:count`."""

        required_stream_modes = ("updates",)

        def init(self) -> dict[str, Any]:
            self.channel: StreamChannel[int] = StreamChannel("count")
            self.seen = 0
            return {"count": self.channel}

        def process(self, event: Any) -> bool:
            if event["method"] == "updates":
                self.seen += 1
                self.channel.push(self.seen)
            return True

    def write(_: State) -> State:
        get_stream_writer()({"progress": 1})
        get_stream_writer()("plain")
        return {"items": [1]}

    graph = of_nodes(State, ("write", write), transformers=[Count])
    received = await stream_events(ProtocolStream(), graph)
    assert [data for _, data in only(received, "custom")] == [
        {"payload": {"progress": 1}}, {"payload": "plain"}, {"name": "count", "payload": 1},
    ]  # fmt: skip
    assert len(only(received, "updates")) == 1


async def test_streamed_and_whole_messages_are_translated() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("one two", id="streamed")]))

    async def call(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def say(_: MessagesState) -> Any:
        whole = [
            AIMessage("whole", id="w"),
            HumanMessage("me", id="h"),
            SystemMessage("be", id="s"),
        ]
        return {"messages": [*whole, ToolMessage("out", tool_call_id="1", id="t")]}

    graph = of_nodes(MessagesState, ("call", call), ("say", say))
    received = await stream_events(
        ProtocolStream(), graph, {"messages": [HumanMessage("hi", id="in")]}
    )
    messages = [data for _, data in only(received, "messages")]
    starts = {data["id"]: data for data in messages if data["event"] == "message-start"}
    assert {key: data["role"] for key, data in starts.items() if key in "whs"} == {
        "w": "ai", "h": "human", "s": "system",
    }  # fmt: skip
    assert [data["metadata"]["langgraph_node"] for data in starts.values()] == [
        "call",
        *["say"] * 3,
    ]
    for key in starts:
        mine = [data for data in messages if data["message_id"] == key]
        events = [data["event"] for data in mine]
        assert (events[0], events[-1]) == ("message-start", "message-finish")
        finished = [
            data["content"]["text"] for data in mine if data["event"] == "content-block-finish"
        ]
        parts = [data["delta"]["text"] for data in mine if "delta" in data]
        assert finished == ["".join(parts)]
    deltas = [data["delta"] for data in messages if data["event"] == "content-block-delta"]
    assert deltas[0] == {
        "type": "text-delta", "text": "one",
    }  # fmt: skip


async def test_concurrent_messages_are_distinguished() -> None:
    both = asyncio.Barrier(2)

    def speaker(name: str) -> Any:
        model = GenericFakeChatModel(messages=iter([AIMessage(f"{name} {name}")]))

        async def speak(_: MessagesState) -> Any:
            await both.wait()
            return {"messages": [await model.ainvoke("hi")]}

        return speak

    builder: Any = StateGraph(MessagesState)
    for name in "ab":
        builder.add_node(name, speaker(name))
        builder.add_edge(START, name)
    received = await stream_events(ProtocolStream(), builder.compile(), {"messages": []})
    texts: dict[str, list[str]] = {}
    for _, data in only(received, "messages"):
        if data["event"] == "content-block-delta":
            texts.setdefault(data["message_id"], []).append(data["delta"]["text"])
    assert sorted(map("".join, texts.values())) == ["a a", "b b"]


async def test_tool_calls_are_translated() -> None:
    @tool
    def double(number: int) -> int:
        """Doubles it."""
        if number < 0:
            raise ValueError("negative")
        return number * 2

    def call(_: MessagesState) -> Any:
        calls = [{"name": "double", "args": {"number": 4}, "id": "c1"}]
        return {"messages": [AIMessage("", tool_calls=calls)]}

    graph = of_nodes(MessagesState, ("call", call), ("tools", ToolNode([double])))
    received = only(await stream_events(ProtocolStream(), graph, {"messages": []}), "tools")
    assert [data["event"] for _, data in received] == ["tool-started", "tool-finished"]
    assert received[0][1]["tool_call_id"] == received[1][1]["tool_call_id"] == "c1"
    assert received[0][1]["tool_name"] == "double"


async def test_an_interrupt_has_the_namespace_of_its_graph() -> None:
    inner = of_nodes(State, ("ask", lambda _: {"items": [interrupt("why?")]}), saver=False)
    graph = of_nodes(State, ("child", inner))
    stream = ProtocolStream()
    received = await stream_events(stream, graph)
    assert stream.paused
    state = await graph.aget_state({"configurable": {"thread_id": "t"}})
    [pending] = state.interrupts
    [node] = [part.partition(":")[0] for part in stream.namespace_of(pending.id)]
    assert node == "child"
    assert only(received, "lifecycle")[-1][1]["event"] == "interrupted"
    assert all(
        "__interrupt__" not in data
        for _, data in only(received, "updates") + only(received, "values")
    )
    name, data = input_requested(stream.namespace_of(pending.id), show_interrupt(pending))
    assert name == "@input.requested"
    assert json.loads(data)["data"] == {
        "interrupt_id": pending.id,
        "payload": "why?",
        "value": "why?",
    }


async def test_a_breakpoint_pauses_without_an_interrupt() -> None:
    graph = of_nodes(State, ("one", add(1)), ("two", add(2)))
    stream = ProtocolStream()
    config: Any = {"configurable": {"thread_id": "t"}, "run_id": uuid.uuid4()}
    events = [
        name
        async for name, _ in stream.run(
            graph, input={"items": []}, config=config, interrupt_before=["two"]
        )
    ]
    assert stream.paused
    assert stream.newest.values == {"items": [1]}
    assert "@values" in events


async def test_an_exception_follows_all_earlier_events() -> None:
    def fail(_: State) -> State:
        raise ValueError("boom")

    inner = of_nodes(State, ("fail", fail), saver=False)
    received: list[str] = []
    stream = ProtocolStream()
    config: Any = {"configurable": {"thread_id": "t"}, "run_id": uuid.uuid4()}
    graph = of_nodes(State, ("one", add(1)), ("child", inner))

    async def collect() -> None:
        async for name, data in stream.run(graph, input={"items": []}, config=config):
            received.append(name if name != "@lifecycle" else json.loads(data)["data"]["event"])

    with pytest.raises(ValueError, match="boom"):
        await collect()
    assert received[-1] == "failed"
    assert stream.newest.values == {"items": [1]}


async def test_a_cancelled_graph_stops() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def hang(_: State) -> State:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    running = asyncio.create_task(stream_events(ProtocolStream(), of_nodes(State, ("hang", hang))))
    await asyncio.wait_for(began.wait(), 10)
    running.cancel()
    await asyncio.wait([running], timeout=10)
    assert running.cancelled()
    await asyncio.wait_for(ended.wait(), 10)
