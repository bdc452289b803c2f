"""Graphs that misbehave, wait or count, and write to a file what they did.

Each note is one line of JSON in the file that `configurable.log` names: the run, its process and
attempt, and what happened. Tests compare it with what the API says of the run.

| graph | does | set in `config.configurable` |
|---|---|---|
| `track` | a loop, a superstep and a custom event an item | `n` (3), `delay` s (0), `hold`: step that waits (none) |
| `held_chat` | streams the tokens of a chat model, then waits for the gate | |
| `linger` | one long node, silent or with an event every 10 ms | `seconds` (30), `busy` (0) |
| `gate` | writes `n` events, waits for the gate (the file `<log>.go`), writes one more | `n` (3) |
| `flood` | writes `n` events as fast as it can | `n` (3000) |
| `bulk` | writes an event of each size, its state holds a text | `sizes` ([]), `state` (0) |
| `block` | blocks its event loop | `seconds` (3) |
| `die` | ends its process | |
| `swallow` | ignores cancels | `seconds` (5) |
| `broken` | raises | |
| `builder`, `…_factory` | not compiled; made by every kind of factory | `word` of `config_factory` |
| `cancelled_factory`, `cancelled_node` | raise a CancelledError without a cancel | |
| `lines` | has a subgraph in a node whose name has two lines | |
"""

import asyncio
import json
import operator
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph


class Items(TypedDict, total=False):
    """A list to which every step adds an item."""

    items: Annotated[list[Any], operator.add]


def knob(config: RunnableConfig, name: str, default: float) -> float:
    """Reads a number from the run's `config.configurable`."""
    return float(config.get("configurable", {}).get(name, default))


def note(config: RunnableConfig, what: str, **more: Any) -> None:
    """Adds a line to the run's log, if it has one."""
    configurable = config.get("configurable", {})
    if "log" not in configurable:
        return
    line = {
        "run": configurable.get("run_id"),  # None when a thread's state is read
        "pid": os.getpid(),
        "attempt": config.get("metadata", {}).get("run_attempt"),
        "what": what,
        **more,
    }
    with Path(configurable["log"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


async def gate_opens(config: RunnableConfig) -> None:
    """Waits for the file `<log>.go`, which the test creates."""
    gate = Path(config.get("configurable", {})["log"] + ".go")
    while not gate.exists():  # noqa: ASYNC110, ASYNC240 - another process opens it
        await asyncio.sleep(0.01)


def alone(name: str, node: Any) -> Any:
    """Returns a graph of one node."""
    graph = StateGraph(Items)
    graph.add_node("only", node)
    graph.add_edge(START, "only")
    graph.add_edge("only", END)
    return graph.compile(name=name)


# ── track ────────────────────────────────────────────────────────────────────


async def step(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Notes its begin and its end, so that overlapping or repeated steps are visible."""
    number = len(state.get("items") or [])
    note(config, "begin", step=number)
    get_stream_writer()({"step": number})
    await asyncio.sleep(knob(config, "delay", 0))
    if number == knob(config, "hold", -1):
        await gate_opens(config)
    note(config, "end", step=number)
    return {"items": [number]}


def more(state: Items, config: RunnableConfig) -> str:
    """Continues until there are `n` items."""
    return "step" if len(state.get("items") or []) < knob(config, "n", 3) else END


_track = StateGraph(Items)
_track.add_node("step", step)
_track.add_edge(START, "step")
_track.add_conditional_edges("step", more, ["step", END])
track = _track.compile(name="track")


# ── held_chat ────────────────────────────────────────────────────────────────

ANSWER = "The quick brown fox jumps over the lazy dog."


async def answer(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Streams the words of the answer."""
    model = GenericFakeChatModel(messages=iter([AIMessage(ANSWER)]))
    return {"messages": [await model.ainvoke(state["messages"], config)]}


async def hold(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Notes that the tokens are streamed, and waits."""
    note(config, "held")
    await gate_opens(config)
    return {}


_held_chat = StateGraph(MessagesState)
_held_chat.add_sequence([answer, hold])
_held_chat.add_edge(START, "answer")
held_chat = _held_chat.compile(name="held_chat")


# ── linger, gate, flood, bulk ────────────────────────────────────────────────


async def lingering(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Notes whether it ended or was cancelled."""
    note(config, "begin")
    write = get_stream_writer()
    end = time.monotonic() + knob(config, "seconds", 30)
    busy = knob(config, "busy", 0)
    try:
        while (left := end - time.monotonic()) > 0:
            if busy:
                write({"left": left})
            await asyncio.sleep(min(left, 0.01) if busy else left)
    except asyncio.CancelledError:
        note(config, "stopped")
        raise
    note(config, "end")
    return {"items": ["lingered"]}


async def waiting(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Writes events before and after the test creates the file `<log>.go`."""
    write = get_stream_writer()
    for number in range(int(knob(config, "n", 3))):
        write({"before": number})
    await gate_opens(config)
    write({"after": True})
    return {"items": ["passed"]}


async def flooding(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Yields to the flusher every 100 events."""
    write = get_stream_writer()
    for number in range(int(knob(config, "n", 3000))):
        write({"number": number})
        if number % 100 == 0:
            await asyncio.sleep(0)
    return {"items": ["flooded"]}


async def heaving(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Numbers its events, beside the bulk."""
    write = get_stream_writer()
    for number, size in enumerate(config.get("configurable", {}).get("sizes", [])):
        write({"number": number, "text": "x" * size})
        await asyncio.sleep(0)
    return {"items": ["y" * int(knob(config, "state", 0))]}


linger = alone("linger", lingering)
gate = alone("gate", waiting)
flood = alone("flood", flooding)
bulk = alone("bulk", heaving)


# ── block, die, swallow, broken ──────────────────────────────────────────────


async def blocking(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Blocks the event loop, as no async graph should."""
    note(config, "begin")
    time.sleep(knob(config, "seconds", 3))  # noqa: ASYNC251 - on purpose
    note(config, "end")
    return {"items": ["blocked"]}


async def dying(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Ends its process."""
    note(config, "begin")
    os._exit(9)


async def swallowing(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Notes each cancel and continues."""
    note(config, "begin")
    end = time.monotonic() + knob(config, "seconds", 5)
    while (left := end - time.monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            note(config, "cancelled")
    note(config, "end")
    return {"items": ["stubborn"]}


async def breaking(state: Items) -> dict[str, Any]:
    """Raises."""
    raise ValueError("broken")


block = alone("block", blocking)
broken = alone("broken", breaking)
die = alone("die", dying)
swallow = alone("swallow", swallowing)


# ── builder, factories ───────────────────────────────────────────────────────


def saying(text: str) -> Any:
    """Returns a builder whose graph writes one item."""

    async def say(state: Items) -> dict[str, Any]:
        return {"items": [text]}

    graph = StateGraph(Items)
    graph.add_node("say", say)
    graph.add_edge(START, "say")
    graph.add_edge("say", END)
    return graph


builder = saying("builder")


def factory() -> Any:
    """A factory without arguments, of a compiled graph."""
    return saying("factory").compile()


async def async_factory() -> Any:
    """An async factory, of a builder."""
    await asyncio.sleep(0)
    return saying("async_factory")


def config_factory(config: RunnableConfig) -> Any:
    """A factory that gets the run's config."""
    return saying(config.get("configurable", {}).get("word", "?")).compile()


@asynccontextmanager
async def context_factory(config: RunnableConfig) -> AsyncIterator[Any]:
    """A factory that is a context manager."""
    note(config, "opened")
    try:
        yield saying("context_factory").compile()
    finally:
        note(config, "closed")


# ── cancelled_factory, cancelled_node, lines ─────────────────────────────────


async def cancelled_factory() -> Any:
    """A factory that awaits a cancelled future."""
    other = asyncio.get_running_loop().create_future()
    other.cancel()
    await other


async def cancelling(state: Items) -> dict[str, Any]:
    """Awaits a cancelled future in a node."""
    await cancelled_factory()
    return {}


cancelled_node = alone("cancelled_node", cancelling)

_lines = StateGraph(Items)
_lines.add_node("two\r\nlines", alone("inner", heaving))
_lines.add_edge(START, "two\r\nlines")
_lines.add_edge("two\r\nlines", END)
lines = _lines.compile(name="lines")
