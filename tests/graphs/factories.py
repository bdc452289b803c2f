"""Graphs that factories make: each depends on the factory's arguments.

| graph | shows |
|---|---|
| `shaped` | its node is named by `configurable.mode`, and asks; without a mode it is `ask_plain` |
| `strict` | the same, and its factory needs a mode |
| `informed` | the config and the runtime of its factory, an async context manager |
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from langgraph_sdk.runtime import ServerRuntime


class Said(TypedDict, total=False):
    """A question or an answer."""

    v: Any


@dataclass
class Context:
    """The context schema of `informed`."""

    colour: str = "none"


def asking(mode: str) -> Any:
    """Returns a graph of one node that asks."""
    name = f"ask_{mode}"
    return (
        StateGraph(Said)
        .add_node(name, lambda state: {"v": interrupt(f"{mode}?")})
        .add_edge(START, name)
        .add_edge(name, END)
    )


def shaped(config: RunnableConfig) -> Any:
    """Makes the graph of a mode."""
    return asking(config.get("configurable", {}).get("mode", "plain"))


def strict(config: RunnableConfig) -> Any:
    """Makes the graph of a mode, which is required."""
    return asking(config["configurable"]["mode"])


@contextlib.asynccontextmanager
async def informed(runtime: ServerRuntime[Context], config: RunnableConfig) -> AsyncIterator[Any]:
    """Makes a graph that answers with its factory's arguments; its node is named after the access."""
    execution = runtime.execution_runtime
    colour = None if execution is None else execution.context.colour
    configurable = config["configurable"]
    arguments = {
        "access": runtime.access_context,
        "colour": colour,
        "user": runtime.user,
        "mode": configurable.get("mode"),
        "assistant_id": configurable.get("assistant_id"),
        "thread_id": configurable.get("thread_id"),
    }
    await runtime.store.aput(("factories",), "told", arguments)
    name = runtime.access_context.replace(".", "_")
    builder = StateGraph(Said, context_schema=Context)
    builder.add_node(name, lambda state: {"v": arguments})
    yield builder.add_edge(START, name).compile()
