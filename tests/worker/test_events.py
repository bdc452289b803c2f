"""LangGraph's stream chunks → the events of the API."""

import json
import operator
import uuid
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Interrupt, interrupt

from millstream.worker.events import EventStream
from millstream.worker.graphs import Graph


def events_of(stream: EventStream, *chunks: Any) -> list[tuple[str, Any]]:
    """Returns the events of some chunks, decoded."""
    return [(name, json.loads(data)) for chunk in chunks for name, data in stream.translate(chunk)]


def chunk(text: str, key: str = "1") -> AIMessageChunk:
    return AIMessageChunk(content=text, id=key)


class State(TypedDict, total=False):
    items: Annotated[list[Any], operator.add]


def graph(*, asks: bool = False, saver: InMemorySaver | None = None) -> Graph:
    """Returns a graph of one node that streams a text and may interrupt."""

    def node(state: State) -> dict[str, Any]:
        get_stream_writer()({"word": 1})
        return {"items": [interrupt("why?") if asks else "done"]}

    builder: Any = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    compiled: Graph = builder.compile(checkpointer=saver, name="g")
    return compiled


async def play(stream: EventStream, compiled: Graph) -> list[tuple[str, Any]]:
    """Runs a graph through a stream; returns the events, decoded."""
    config: Any = {"configurable": {"thread_id": "t"}, "run_id": uuid.UUID(int=7)}
    return [
        (name, json.loads(data))
        async for name, data in stream.run(compiled, input={"items": ["in"]}, config=config)
    ]


# ── Which modes ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("modes", "requested"),
    [
        ([], {"values", "updates"}),
        (["values"], {"values", "updates"}),
        (["custom", "debug"], {"values", "updates", "custom", "debug"}),
        (["messages"], {"values", "updates", "messages"}),
        (["messages-tuple"], {"values", "updates", "messages"}),
        (["events"], {"values", "updates"}),
        (["tasks", "checkpoints"], {"values", "updates", "tasks", "checkpoints"}),
    ],
)
def test_the_needed_langgraph_modes_are_requested(modes: list[str], requested: set[str]) -> None:
    assert set(EventStream(modes, subgraphs=False).library_modes()) == requested


def test_only_requested_modes_are_sent() -> None:
    stream = EventStream(["updates"], subgraphs=False)
    assert events_of(stream, ((), "values", {"a": 1}), ((), "updates", {"n": {"a": 1}})) == [
        ("updates", {"n": {"a": 1}})
    ]
    assert stream.newest.values == {"a": 1}  # is recorded all the same
    assert stream.newest.to_json() == b'{"a":1}'


def test_a_subgraphs_events_carry_its_namespace() -> None:
    stream = EventStream(["values", "custom"], subgraphs=True)
    namespace = ("a:1", "b:2")
    assert events_of(stream, (namespace, "values", {"in": 1}), (namespace, "custom", "x")) == [
        ("values|a:1|b:2", {"in": 1}),
        ("custom|a:1|b:2", "x"),
    ]
    assert stream.newest.values is None  # of the root graph
    assert events_of(stream, (namespace, "updates", {"__interrupt__": []})) == []
    assert stream.paused is False


@pytest.mark.parametrize("chunk_value", [[], "text", None, ["a"], ("a",), {"a": 1}])
def test_a_user_value_named_interrupt_is_no_pause(chunk_value: Any) -> None:
    stream = EventStream(["values"], subgraphs=False)
    events_of(stream, ((), "values", {"__interrupt__": chunk_value}))
    assert stream.paused is False
    assert stream.newest.values == {"__interrupt__": chunk_value}


def test_interrupts_are_no_values() -> None:
    stream = EventStream(["values"], subgraphs=False)
    requested = (Interrupt(1, id="i"),)
    events_of(stream, ((), "values", {"a": 1, "__interrupt__": requested}))
    assert stream.newest.to_json() == b'{"a":1}'
    events_of(
        stream, ((), "values", {"__interrupt__": requested})
    )  # for a state that is no mapping
    assert stream.newest.to_json() == b'{"a":1}'


def test_a_missing_value_is_not_none() -> None:
    stream = EventStream(["updates"], subgraphs=False)
    assert stream.newest.to_json() is None
    events_of(stream, ((), "values", None))  # the return value of an entrypoint
    assert stream.newest.to_json() == b"null"


def test_the_newest_values_are_kept() -> None:
    stream = EventStream(["values"], subgraphs=False)
    events_of(stream, ((), "values", {"a": 1}), ((), "values", {"a": 2}))
    assert stream.newest.values == {"a": 2}
    assert stream.newest.to_json() == b'{"a":2}'


@pytest.mark.parametrize("mode", ["values", "updates"])
@pytest.mark.parametrize("interrupts", [(), (Interrupt(1, id="i"),)])
def test_an_interrupt_is_noticed(mode: str, interrupts: tuple[Interrupt, ...]) -> None:
    stream = EventStream(["custom"], subgraphs=False)
    events_of(stream, ((), mode, {"a": 1}))
    assert stream.paused is False
    events_of(stream, ((), mode, {"__interrupt__": interrupts}))
    assert stream.paused is True


def test_values_may_be_any_type() -> None:
    stream = EventStream(["values"], subgraphs=False)
    assert events_of(
        stream, ((), "values", "__interrupt__"), ((), "values", ["__interrupt__"])
    ) == [
        ("values", "__interrupt__"),
        ("values", ["__interrupt__"]),
    ]
    assert stream.paused is False


# ── Messages ────────────────────────────────────────────────────────────────────────────────


def test_messages_tuple_mode_sends_chunks_with_metadata() -> None:
    stream = EventStream(["messages-tuple"], subgraphs=False)
    events = events_of(
        stream, ((), "messages", (chunk("a"), {"k": 1})), ((), "messages", (chunk("b"), {}))
    )
    assert [name for name, _ in events] == ["messages", "messages"]
    assert [data[0]["content"] for _, data in events] == ["a", "b"]
    assert [data[0]["type"] for _, data in events] == ["AIMessageChunk"] * 2
    assert events[0][1][1] == {"k": 1}


def test_messages_mode_sends_growing_messages() -> None:
    stream = EventStream(["messages"], subgraphs=False)
    events = events_of(
        stream,
        ((), "messages", (chunk("a"), {"k": 1})),
        ((), "messages", (chunk("x", "2"), {"k": 2})),
        ((), "messages", (chunk("b"), {"k": 3})),
        ((), "messages", (chunk(""), {})),
    )
    assert [name for name, _ in events] == [
        "messages/metadata", "messages/partial", "messages/metadata", "messages/partial",
        "messages/partial", "messages/partial",
    ]  # fmt: skip
    assert events[0][1] == {"1": {"metadata": {"k": 1}}}
    assert events[2][1] == {"2": {"metadata": {"k": 2}}}
    partials = [data for name, data in events if name == "messages/partial"]
    assert [[m["content"] for m in data] for data in partials] == [["a"], ["x"], ["ab"], ["ab"]]
    assert {data[0]["type"] for data in partials} == {"ai"}


def test_messages_mode_sends_complete_messages() -> None:
    stream = EventStream(["messages"], subgraphs=False)
    events = events_of(
        stream,
        ((), "messages", (AIMessage("a", id="1"), {})),
        ((), "messages", (AIMessage("b", id="1"), {})),
        ((), "messages", (HumanMessage("c", id="2"), {})),
    )
    assert [name for name, _ in events] == [
        "messages/metadata", "messages/complete", "messages/complete", "messages/metadata",
        "messages/complete",
    ]  # fmt: skip
    assert [d[0]["content"] for n, d in events if n == "messages/complete"] == ["a", "b", "c"]


def test_a_chunk_after_the_complete_message_is_ignored() -> None:
    stream = EventStream(["messages"], subgraphs=False)
    whole: Any = ((), "messages", (AIMessage("whole", id="1"), {}))
    events = events_of(stream, whole, ((), "messages", (chunk("new"), {})))
    assert events[-1] == ("messages/partial", events[-1][1])
    assert events[-1][1][0]["content"] == "new"


def test_messages_without_an_id_are_sent() -> None:
    stream = EventStream(["messages"], subgraphs=False)
    events = events_of(stream, ((), "messages", (AIMessage("a"), {})))
    assert events[0] == ("messages/metadata", {"": {"metadata": {}}})


def test_messages_tuple_takes_precedence_over_messages() -> None:
    stream = EventStream(["messages", "messages-tuple"], subgraphs=True)
    events = events_of(stream, (("in:1",), "messages", (chunk("a"), {})))
    assert [name for name, _ in events] == ["messages|in:1"]
    bare = EventStream(["messages"], subgraphs=True)
    events = events_of(bare, (("in:1",), "messages", (chunk("a"), {})))
    assert [name for name, _ in events] == ["messages/metadata", "messages/partial"]


# ── debug ───────────────────────────────────────────────────────────────────────────────────


def test_a_debug_checkpoint_has_its_config_and_parent() -> None:
    def config(checkpoint_id: str) -> dict[str, Any]:
        ids = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": checkpoint_id}
        return {"configurable": {**ids, "mine": 1}}

    payload: dict[str, Any] = {
        "config": config("2"),
        "parent_config": config("1"),
        "tasks": [
            {"id": "a", "state": {"configurable": {"checkpoint_ns": "a:1"}}},
            {"id": "b", "state": None},
        ],
    }
    chunk: dict[str, Any] = {"type": "checkpoint", "step": 1, "payload": payload}
    [(name, data)] = events_of(EventStream(["debug"], subgraphs=False), ((), "debug", chunk))
    assert name == "debug"
    reduced = data["payload"]
    assert reduced["checkpoint"] == {"checkpoint_id": "2", "thread_id": "t", "checkpoint_ns": ""}
    assert reduced["parent_checkpoint"]["checkpoint_id"] == "1"
    assert reduced["tasks"] == [
        {"id": "a", "checkpoint": {"checkpoint_ns": "a:1"}},
        {"id": "b", "state": None},
    ]
    assert "checkpoint" not in chunk["payload"]  # LangGraph's own object is unchanged
    payload["parent_config"] = None
    [(_, data)] = events_of(EventStream(["debug"], subgraphs=False), ((), "debug", chunk))
    assert data["payload"]["parent_checkpoint"] is None


# ── With a graph ────────────────────────────────────────────────────────────────────────────


async def test_the_events_of_a_run_are_complete() -> None:
    stream = EventStream(["values", "updates", "custom"], subgraphs=False)
    assert await play(stream, graph()) == [
        ("values", {"items": ["in"]}),
        ("custom", {"word": 1}),
        ("updates", {"node": {"items": ["done"]}}),
        ("values", {"items": ["in", "done"]}),
    ]
    assert stream.newest.values == {"items": ["in", "done"]}
    assert stream.paused is False


async def test_an_interrupted_run_sends_its_interrupt() -> None:
    stream = EventStream(["custom"], subgraphs=False)
    assert await play(stream, graph(asks=True, saver=InMemorySaver())) == [("custom", {"word": 1})]
    assert stream.paused is True
    assert stream.newest.values["items"] == ["in"]


async def test_events_mode_sends_langchains_events() -> None:
    stream = EventStream(["events", "updates"], subgraphs=False)
    events = await play(stream, graph())
    event_names = [(data["event"], data["name"]) for name, data in events if name == "events"]
    assert event_names[0] == ("on_chain_start", "g")
    assert event_names[-1] == ("on_chain_end", "g")
    assert ("on_chain_stream", "g") not in event_names  # the root's chunks are the other modes
    assert ("on_chain_stream", "node") in event_names
    assert ("updates", {"node": {"items": ["done"]}}) in events
    assert stream.newest.values == {"items": ["in", "done"]}
