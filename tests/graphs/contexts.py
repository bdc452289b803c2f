"""Graphs whose answer is their context: `data_context` has a dataclass, `model_context` a pydantic model."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel


class Plain(TypedDict, total=False):
    """A state without schemas beside it."""

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


async def answer_context(state: Plain, runtime: Runtime[Any]) -> Any:
    """Answers with the context."""
    return {"answer": f"{runtime.context.user} {runtime.context.level!r}"}


data_context = (
    StateGraph(Plain, context_schema=DataContext)
    .add_node("node", answer_context)
    .add_edge(START, "node")
    .compile()
)
model_context = (
    StateGraph(Plain, context_schema=ModelContext)
    .add_node("node", answer_context)
    .add_edge(START, "node")
    .compile()
)
