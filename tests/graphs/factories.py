"""Graphs that factories make: each depends on what the factory is given.

| graph | shows |
|---|---|
| `shaped` | its node is named by `configurable.mode`, and asks; without a mode it is `ask_plain` |
| `strict` | the same, and its factory needs a mode |
| `informed` | what its factory was told of the run: an async context manager with config and runtime |
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
    """What was asked, or told."""

    v: Any


@dataclass
class Wants:
    """The context that `informed` is made with."""

    colour: str = "none"


def asking(mode: str) -> Any:
    """A graph of one node that asks."""
    name = f"ask_{mode}"
    return (
        StateGraph(Said)
        .add_node(name, lambda state: {"v": interrupt(f"{mode}?")})
        .add_edge(START, name)
        .add_edge(name, END)
    )


def shaped(config: RunnableConfig) -> Any:
    """Make the graph of a mode."""
    return asking(config.get("configurable", {}).get("mode", "plain"))


def strict(config: RunnableConfig) -> Any:
    """Make the graph of a mode that has to be given."""
    return asking(config["configurable"]["mode"])


@contextlib.asynccontextmanager
async def informed(runtime: ServerRuntime[Wants], config: RunnableConfig) -> AsyncIterator[Any]:
    """Make a graph that tells what its factory was given; its node is named after the access."""
    execution = runtime.execution_runtime
    colour = None if execution is None else execution.context.colour
    configurable = config["configurable"]
    told = {
        "access": runtime.access_context,
        "colour": colour,
        "user": runtime.user,
        "mode": configurable.get("mode"),
        "assistant_id": configurable.get("assistant_id"),
        "thread_id": configurable.get("thread_id"),
    }
    await runtime.store.aput(("factories",), "told", told)
    name = runtime.access_context.replace(".", "_")
    builder = StateGraph(Said, context_schema=Wants).add_node(name, lambda state: {"v": told})
    yield builder.add_edge(START, name).compile()
