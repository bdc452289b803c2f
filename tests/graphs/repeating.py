"""A graph that puts its text wherever a graph can put one, for tests of encryption at rest and of logs.

The field `then` of its state decides what its node does: `store` puts an item, `ask` waits at an interrupt, `fail`
raises.
"""

from typing import Annotated, Any, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.store.base import BaseStore
from langgraph.types import interrupt


class State(TypedDict, total=False):
    """A text, and what the graph makes of it."""

    text: str
    then: str
    answer: Any
    messages: Annotated[list[AnyMessage], add_messages]


async def repeat(state: State, config: RunnableConfig, *, store: BaseStore) -> dict[str, Any]:
    """Streams, stores and returns the text."""
    text = state.get("text") or str(state["messages"][-1].content)
    get_stream_writer()({"text": text})
    message = await GenericFakeChatModel(messages=iter([AIMessage(text)])).ainvoke(text, config)
    if state.get("then") == "store":
        await store.aput(("texts",), "item", {"text": text}, index=False)
    if state.get("then") == "fail":
        raise ValueError(text)
    answer = interrupt({"question": text}) if state.get("then") == "ask" else text
    return {"answer": answer, "messages": [message]}


def build() -> Any:
    """Returns the graph."""
    builder = StateGraph(State)
    builder.add_node("repeat", repeat)
    builder.add_edge(START, "repeat")
    builder.add_edge("repeat", END)
    return builder.compile()


def factory(config: RunnableConfig) -> Any:
    """Makes the graph for each run, so that the run's config is stored on its thread."""
    return build()


repeating = build()
