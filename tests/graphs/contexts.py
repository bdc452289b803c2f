"""Graphs that tell whom they run for, by the context that they were given: `data_context`, `model_context`."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel


class Plain(TypedDict, total=False):
    """A state that is told as it is."""

    do: str
    answer: str
    steps: Annotated[list[str], operator.add]


@dataclass
class DataContext:
    """The context of `data_context`."""

    user: str
    level: int = 1


class ModelContext(BaseModel):
    """The context of `model_context`."""

    user: str
    level: int = 1


async def who(state: Plain, runtime: Runtime[Any]) -> Any:
    """Tell whom it runs for."""
    return {"answer": f"{runtime.context.user} {runtime.context.level!r}"}


data_context = (
    StateGraph(Plain, context_schema=DataContext)
    .add_node("node", who)
    .add_edge(START, "node")
    .compile()
)
model_context = (
    StateGraph(Plain, context_schema=ModelContext)
    .add_node("node", who)
    .add_edge(START, "node")
    .compile()
)
