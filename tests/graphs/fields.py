"""Graphs that show the effect of a run request, for tests of the request's fields.

| graph | shows |
|---|---|
| `probe` | the config and the context of its node, and the checkpoints that existed then |
| `chain` | START → a → b → c → END, each node adds its name: which nodes ran |
| `odd` | state and custom events that JSON can't hold |
| `tooled` | the events of a tool |
| `tooled_within` | the same, of a subgraph |
| `counted` | events of a custom projection, `custom:progress` |
| `questions` | two nodes of one superstep that each wait for an answer |
"""

import datetime as dt
import decimal
import enum
import operator
import pathlib
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import numpy as np
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import get_runtime
from langgraph.stream import StreamChannel, StreamTransformer
from langgraph.types import interrupt
from pydantic import BaseModel

# ── probe ────────────────────────────────────────────────────────────────────


@dataclass
class Context:
    """The runtime context of `probe`."""

    user: str = "nobody"
    level: int = 0
    extras: dict[str, Any] = field(default_factory=dict)


class Seen(TypedDict, total=False):
    """What the nodes saw."""

    question: Any
    seen: dict[str, Any]
    checkpoints: int


async def note(state: Seen, config: RunnableConfig) -> dict[str, Any]:
    """Writes the arguments of the run to the state."""
    runtime = get_runtime(Context)
    configurable = config.get("configurable", {})
    return {
        "seen": {
            "configurable": {k: v for k, v in configurable.items() if not k.startswith("__")},
            "metadata": dict(config.get("metadata", {})),
            "tags": list(config.get("tags") or []),
            "recursion_limit": config.get("recursion_limit"),
            "user": runtime.context.user,
            "level": runtime.context.level,
        }
    }


async def count_checkpoints(state: Seen, config: RunnableConfig) -> dict[str, Any]:
    """Counts the thread's stored checkpoints while the run runs."""
    configurable = config.get("configurable", {})
    saver = configurable["__pregel_checkpointer"]
    thread: RunnableConfig = {
        "configurable": {"thread_id": configurable["thread_id"], "checkpoint_ns": ""}
    }
    return {"checkpoints": len([checkpoint async for checkpoint in saver.alist(thread)])}


probe = (
    StateGraph(Seen, context_schema=Context)
    .add_node("note", note)
    .add_node("count", count_checkpoints)
    .add_edge(START, "note")
    .add_edge("note", "count")
    .add_edge("count", END)
    .compile()
)

# ── chain ────────────────────────────────────────────────────────────────────


class Path(TypedDict, total=False):
    """The nodes that ran, and the argument of a Send."""

    path: Annotated[list[Any], operator.add]
    sent: Any


async def node_a(state: Path) -> dict[str, Any]:
    """Adds `a`."""
    return {"path": ["a"]}


async def node_b(state: Path) -> dict[str, Any]:
    """Adds `b`, or the argument of a Send."""
    return {"path": [state.get("sent", "b")]}


async def node_c(state: Path) -> dict[str, Any]:
    """Adds `c`."""
    return {"path": ["c"]}


chain = (
    StateGraph(Path)
    .add_node("a", node_a)
    .add_node("b", node_b)
    .add_node("c", node_c)
    .add_edge(START, "a")
    .add_edge("a", "b")
    .add_edge("b", "c")
    .add_edge("c", END)
    .compile()
)

# ── odd ──────────────────────────────────────────────────────────────────────


class Colour(enum.Enum):
    """An enum of strings."""

    RED = "red"


class Model(BaseModel):
    """A pydantic model."""

    when: dt.datetime
    name: str = "x"


class Unshowable:
    """An object whose methods raise."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def model_dump(self) -> Any:
        """Raises, as a broken model does."""
        raise RuntimeError("no dump")


WHEN = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def kept_values() -> dict[str, Any]:
    """Values that a checkpoint can hold, though JSON can't."""
    return {
        "datetime": WHEN,
        "date": WHEN.date(),
        "timedelta": dt.timedelta(seconds=90),
        "uuid": uuid.UUID(int=5),
        "bytes": b"\xff\x00",
        "set": {1},
        "decimal": decimal.Decimal("1.5"),
        "model": Model(when=WHEN),
        "message": HumanMessage("hi", id="m1"),
        "path": pathlib.Path("/tmp/x"),
        "deque": deque([1, 2]),
        "nul": "a\x00b",
        "keys": {1: "one"},
    }


def passing_values() -> list[Any]:
    """Values that are only streamed."""
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    return [
        float("nan"),
        float("inf"),
        "\ud800 alone",
        "line\nbreak\r\n\u2028\u2029\x85 and \x00",
        Colour.RED,
        Unshowable(),
        loop,
        deep,
        ValueError("bad"),
        np.float32(0.5),
        np.arange(3),
        (n for n in range(3)),
        Model,
        {(1, 2): "tuple", None: "none", Colour.RED: "enum"},
        decimal.Decimal("NaN"),
        AIMessage("a", id="m2"),
        2**80,
        kept_values(),
    ]


class Odd(TypedDict, total=False):
    """One field for each value that checkpoints can hold."""

    stored: dict[str, Any]
    done: bool


async def emit(state: Odd) -> dict[str, Any]:
    """Streams all values and stores those that a checkpoint can hold."""
    write = get_stream_writer()
    for value in passing_values():
        write(value)
    return {"stored": kept_values()}


async def finish(state: Odd) -> dict[str, Any]:
    """Shows that the run continued."""
    return {"done": True}


odd = (
    StateGraph(Odd)
    .add_node("emit", emit)
    .add_node("finish", finish)
    .add_edge(START, "emit")
    .add_edge("emit", "finish")
    .add_edge("finish", END)
    .compile()
)


# ── tooled, counted ──────────────────────────────────────────────────────────


@tool
def double(number: int) -> int:
    """Doubles a number."""
    return number * 2


def call_tool(_: MessagesState) -> dict[str, Any]:
    """Calls the tool as a model would."""
    calls = [{"name": "double", "args": {"number": 4}, "id": "call-1"}]
    return {"messages": [AIMessage("", tool_calls=calls)]}


_tooled: Any = StateGraph(MessagesState)
_tooled.add_node("call", call_tool)
_tooled.add_node("tools", ToolNode([double]))
_tooled.add_edge(START, "call")
_tooled.add_edge("call", "tools")
_tooled.add_edge("tools", END)
tooled = _tooled.compile(name="tooled")

_tooled_within: Any = StateGraph(MessagesState)
_tooled_within.add_node("agent", tooled)
_tooled_within.add_edge(START, "agent")
_tooled_within.add_edge("agent", END)
tooled_within = _tooled_within.compile(name="tooled_within")


class Progress(StreamTransformer):
    """Numbers the updates, for clients that subscribe to `custom:progress`."""

    required_stream_modes = ("updates",)

    def init(self) -> dict[str, Any]:
        """Creates the channel."""
        self.channel: StreamChannel[int] = StreamChannel("progress")
        self.seen = 0
        return {"progress": self.channel}

    def process(self, event: Any) -> bool:
        """Counts one update."""
        if event["method"] == "updates":
            self.seen += 1
            self.channel.push(self.seen)
        return True


class Counted(TypedDict, total=False):
    """The counted items."""

    items: Annotated[list[int], operator.add]


def count_one(_: Counted) -> Counted:
    """Adds one item."""
    return {"items": [1]}


_counted: Any = StateGraph(Counted)
_counted.add_node("count", count_one)
_counted.add_edge(START, "count")
_counted.add_edge("count", END)
counted = _counted.compile(name="counted", transformers=[Progress])


# ── questions ────────────────────────────────────────────────────────────────


def ask_first(_: Path) -> dict[str, Any]:
    """Waits for an answer."""
    return {"path": [["first", interrupt("first?")]]}


def ask_second(_: Path) -> dict[str, Any]:
    """Waits for another answer."""
    return {"path": [["second", interrupt("second?")]]}


_questions: Any = StateGraph(Path)
for _node in (ask_first, ask_second):
    _questions.add_node(_node)
    _questions.add_edge(START, _node.__name__)
    _questions.add_edge(_node.__name__, END)
questions = _questions.compile(name="questions")


# ── numbered: a question with a schema for its answer ────────────────────────


def ask_for_a_number(_: Path) -> dict[str, Any]:
    """Waits for a number."""
    return {"path": [["number", interrupt("how many?", response_schema={"type": "integer"})]]}


_numbered: Any = StateGraph(Path)
_numbered.add_node(ask_for_a_number)
_numbered.add_edge(START, "ask_for_a_number")
_numbered.add_edge("ask_for_a_number", END)
numbered = _numbered.compile(name="numbered")
