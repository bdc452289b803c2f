"""Graphs that use the store in each way that a node can get it, and a deterministic embedding."""

from typing import Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore


class State(TypedDict, total=False):
    user: str
    text: str
    result: dict[str, Any]


async def embed(texts: list[str]) -> list[list[float]]:
    """Returns how often each letter occurs; fails on a text with `provider down`."""
    if any("provider down" in text for text in texts):
        raise ConnectionError("the provider is down")
    return [[float(text.lower().count(chr(97 + i))) for i in range(26)] for text in texts]


async def by_parameter(state: State, *, store: BaseStore) -> State:
    await store.aput(("users", state["user"]), "parameter", {"text": state["text"]})
    return {}


def by_thread(state: State, runtime: Runtime[None]) -> State:
    """A plain function, which runs in a thread."""
    assert runtime.store is not None
    runtime.store.put(("users", state["user"]), "runtime", {"text": state["text"], "n": 1})
    return {}


async def by_config(state: State) -> State:
    value = {"text": state["text"], "said": AIMessage("typed"), "at": 2}
    await get_store().aput(("users", state["user"]), "config", value)
    return {}


async def reads(state: State, *, store: BaseStore) -> State:
    namespace = ("users", state["user"])
    said = await store.aget(namespace, "config")
    items = await store.asearch(namespace, limit=5)
    near = await store.asearch(namespace, query=state.get("text", ""), filter={"n": {"$gte": 1}})
    return {
        "result": {
            "keys": sorted(item.key for item in items),
            "near": [item.key for item in near],
            "type": type(said.value["said"]).__name__ if said else None,
            "namespaces": await store.alist_namespaces(prefix=namespace),
        }
    }


def nothing(state: State) -> State:
    return {"text": "done"}


def _graph(*nodes: Any) -> Any:
    builder = StateGraph(State)
    for before, node in zip((START, *(n.__name__ for n in nodes)), nodes, strict=False):
        builder.add_node(node.__name__, node)
        builder.add_edge(before, node.__name__)
    builder.add_edge(nodes[-1].__name__, END)
    return builder.compile()


inner = _graph(by_config)  # a subgraph has the store of its parent graph
inner.name = "by_subgraph"


async def by_subgraph(state: State) -> State:
    await inner.ainvoke(state)
    return {}


remember = _graph(by_parameter, by_thread, by_subgraph)
recall = _graph(reads)
plain = _graph(nothing)
