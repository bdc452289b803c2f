"""Graphs whose exceptions contain a text, for tests that look for it. The input's `at` says what fails."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from typing_extensions import TypedDict

MARKER = "marker-of-an-exception"


def _reduced(old: Any, new: Any) -> Any:
    if new == "raise":
        raise ValueError(f"reducer {MARKER}")
    return new


class State(TypedDict, total=False):
    """What fails, and the messages."""

    at: str
    messages: Annotated[list[AnyMessage], add_messages]
    reduced: Annotated[Any, _reduced]


class Breaking(GenericFakeChatModel):
    """A model whose stream breaks."""

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="half", id="m"))
        raise ConnectionError(f"model {MARKER}")


@tool
def failing(topic: str) -> str:
    """Fails."""
    raise ValueError(f"tool {MARKER} of {topic}")


async def begin(state: State) -> dict[str, Any]:
    """Calls the tool, or raises as the input says."""
    at = state.get("at")
    if at == "node":
        raise ValueError(f"node {MARKER}")
    if at == "timeout":
        raise TimeoutError(f"timeout {MARKER}")
    if at == "group":
        raise ExceptionGroup(f"group {MARKER}", [ValueError(f"first {MARKER}"), KeyError(MARKER)])
    if at == "model":
        return {"messages": [await Breaking(messages=iter([])).ainvoke("hello")]}
    if at == "object":
        return {"reduced": ValueError(f"value {MARKER}")}
    call = {"name": "failing", "args": {"topic": "x"}, "id": "call-0", "type": "tool_call"}
    return {"messages": [AIMessage("", tool_calls=[call])]} if at == "tool" else {}


def _child() -> Any:
    builder: Any = StateGraph(State)
    builder.add_node("begin", begin)
    builder.add_node("tools", ToolNode([failing], handle_tool_errors=False))
    builder.add_edge(START, "begin")
    builder.add_conditional_edges(
        "begin", lambda state: "tools" if state.get("at") == "tool" else END, ["tools", END]
    )
    return builder.compile()


def _parent() -> Any:
    builder: Any = StateGraph(State)
    builder.add_node("child", _child())
    builder.add_edge(START, "child")
    return builder.compile()


graph = _parent()


def factory(config: dict[str, Any]) -> Any:
    """Raises."""
    raise ValueError(f"factory {MARKER}")
