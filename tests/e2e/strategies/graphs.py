"""Graphs that note what they do in a file that the test names.

Set in `config.configurable`: `tag` names the run in its notes and items, `log` is the file, `delay`
the seconds a step, `folder` holds the locks of `locked`. Each step decrements `left`.
"""

import asyncio
import contextlib
import operator
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt

Graph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]


class State(TypedDict, total=False):
    """The state of all these graphs."""

    items: Annotated[list[str], operator.add]
    left: int


def knob(config: RunnableConfig, name: str, default: Any) -> Any:
    return config.get("configurable", {}).get(name, default)


def note(config: RunnableConfig, what: str) -> None:
    """Appends `what tag time` to the run's log."""
    path = knob(config, "log", None)
    if path is None:
        return
    line = f"{what} {knob(config, 'tag', '-')} {time.time()}\n".encode()
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line)
    os.close(log)


# ── walk: a step an item ─────────────────────────────────────────────────────────────────────


async def _step(state: State, config: RunnableConfig) -> State:
    left = state.get("left", 1)
    note(config, "start")
    try:
        await asyncio.sleep(knob(config, "delay", 0))
    finally:
        note(config, "stop")
    return {"items": [f"{knob(config, 'tag', '')}{left}"], "left": left - 1}


def _more(state: State) -> str:
    return "step" if state.get("left", 0) > 0 else END


def _walk() -> "StateGraph[State, None, State, State]":
    graph = StateGraph(State)
    graph.add_node("step", _step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", _more, ["step", END])
    return graph


walk: Graph = _walk().compile()


# ── nested: walk inside, a step before and one after ─────────────────────────────────────────


def _say(what: str) -> Any:
    def node(_: State) -> State:
        return {"items": [what]}

    return node


def _nest(inner: Any) -> Graph:
    graph = StateGraph(State)
    graph.add_node("before", _say("before"))
    graph.add_node("inner", inner)
    graph.add_node("after", _say("after"))
    graph.add_edge(START, "before")
    graph.add_edge("before", "inner")
    graph.add_edge("inner", "after")
    graph.add_edge("after", END)
    return graph.compile()


nested: Graph = _nest(_walk().compile())


# ── graphs that do not stop ──────────────────────────────────────────────────────────────────


async def _refuse(_: State, config: RunnableConfig) -> State:
    """Swallows every cancel until its delay is over."""
    note(config, "start")
    writer = get_stream_writer()
    end = time.monotonic() + knob(config, "delay", 2.0)
    while (left := end - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(left)
    writer({"late": True})
    note(config, "late")
    return {"items": ["late"]}


def _block(_: State, config: RunnableConfig) -> State:
    """Blocks its thread."""
    note(config, "start")
    writer = get_stream_writer()
    time.sleep(knob(config, "delay", 2.0))
    writer({"late": True})
    note(config, "late")
    return {"items": ["late"]}


def _stubborn(node: Any) -> "StateGraph[State, None, State, State]":
    graph = StateGraph(State)
    graph.add_node("first", _say("first"))
    graph.add_node("stays", node)
    graph.add_node("second", _say("second"))
    graph.add_edge(START, "first")
    graph.add_edge("first", "stays")
    graph.add_edge("stays", "second")
    graph.add_edge("second", END)
    return graph


stubborn: Graph = _stubborn(_refuse).compile()
blocking: Graph = _stubborn(_block).compile()
nested_stubborn: Graph = _nest(_stubborn(_refuse).compile())
nested_blocking: Graph = _nest(_stubborn(_block).compile())


# ── human in the loop ────────────────────────────────────────────────────────────────────────


def _ask(question: str) -> Any:
    def node(_: State) -> State:
        return {"items": [f"{question}={interrupt({'question': question})}"]}

    return node


async def _slowly(_: State, config: RunnableConfig) -> State:
    note(config, "start")
    await asyncio.sleep(knob(config, "delay", 0))
    return {"items": ["slowly"]}


def _questions() -> Graph:
    """Asks two questions at once, then runs a step that may take long."""
    graph: StateGraph[State, None, State, State] = StateGraph(State)
    for name in ("one", "two"):
        graph.add_node(name, _ask(name))
        graph.add_edge(START, name)
    graph.add_node("slowly", _slowly)  # type: ignore[arg-type]
    graph.add_edge(["one", "two"], "slowly")
    graph.add_edge("slowly", END)
    return graph.compile()


def _inside() -> Graph:
    """Asks one question in a subgraph, with a step after it there."""
    graph: StateGraph[State, None, State, State] = StateGraph(State)
    graph.add_node("ask", _ask("inside"))
    graph.add_node("slowly", _slowly)  # type: ignore[arg-type]
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "slowly")
    graph.add_edge("slowly", END)
    return _nest(graph.compile())


def _add_name(name: str) -> Any:
    def node(state: State) -> State:
        return {"items": [f"{name}{state.get('left', '')}"]}

    return node


def _rooms() -> Graph:
    """Only `hall` is on the path; the others are for `goto`."""
    graph: StateGraph[State, None, State, State] = StateGraph(State)
    for name in ("hall", "red", "blue"):
        graph.add_node(name, _add_name(name))
        graph.add_edge(name, END)
    graph.add_edge(START, "hall")
    return graph.compile()


questions = _questions()
inside = _inside()
rooms = _rooms()


# ── locked: no other attempt on this thread while the graph is open ──────────────────────────


@contextlib.asynccontextmanager
async def locked(config: RunnableConfig) -> AsyncIterator[Graph]:
    """Holds a lock on the thread while an attempt uses the graph. A second attempt leaves a file `BROKEN …`."""
    folder = knob(config, "folder", None)
    if folder is None:  # a call that reads the state
        yield walk
        return
    path = Path(folder) / str(knob(config, "thread_id", ""))
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        (Path(folder) / f"BROKEN {path.name} {time.time()}").touch()
        raise
    try:
        yield walk
    finally:
        path.unlink()
