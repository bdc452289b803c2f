"""Graphs that fail in every way in which users' graphs fail, for tests of the errors.

| graph | fails |
|---|---|
| `raises` | in its node `bad`, as the input's `how` says (a key of RAISED) |
| `raises_inside` | the same, in the node `bad` of its subgraph `inner` |
| `wide` | the same, outside of nodes: `where` is `edge`, `reducer`, `send` |
| `keeps` | its node `bad` stores a value that a checkpoint can't hold: `what` is a key of UNSTORABLE, `where` the way |
| `tried` | twice, then succeeds: its node has a retry policy |
| `endless` | beyond its recursion limit |
| `unmade` | in its factory |
"""

import asyncio
import operator
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt
from pydantic import BaseModel


class State(TypedDict, total=False):
    """The input, and what the nodes store."""

    how: str
    where: str
    what: str
    v: Any
    log: Annotated[list[str], operator.add]


class Person(BaseModel):
    """A model that gets an invalid input."""

    name: str
    age: int


class Speechless(Exception):
    """Its text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Particular(Exception):
    """Its constructor has required keyword arguments."""

    def __init__(self, *, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"Error code: {status} - {body}")


def _raise(error: BaseException) -> Any:
    raise error


def _chained() -> None:
    try:
        _raise(ConnectionError("the database is down"))
    except ConnectionError as error:
        raise RuntimeError("the plan was not saved") from error


def _deeper() -> Any:
    return _deeper()


def _group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("unhandled errors in a TaskGroup", errors)


def _threaded() -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: _raise(ValueError("from a thread"))).result()


RAISED: dict[str, Callable[[], Any]] = {
    "plain": lambda: _raise(ValueError("broken")),
    "empty": lambda: _raise(ValueError()),
    "key": lambda: dict[str, str]()["x"],
    "key_sentence": lambda: _raise(KeyError("user not found")),
    "assertion": lambda: _raise(AssertionError()),
    "timeout": lambda: _raise(TimeoutError()),
    "speechless": lambda: _raise(Speechless()),
    "huge": lambda: _raise(ValueError("x" * 3_000_000)),
    "controls": lambda: _raise(ValueError("\x1b[31mred\x00\x07")),
    "surrogate": lambda: _raise(ValueError("a\ud800b")),
    "group": lambda: _raise(_group(ValueError("401 Unauthorized"))),
    "groups": lambda: _raise(_group(_group(ValueError("401 Unauthorized")), TypeError("b"))),
    "same_twice": lambda: _raise(_group(ValueError("same"), ValueError("same"))),
    "chained": _chained,
    "pydantic": lambda: Person.model_validate({"age": "old"}),
    "particular": lambda: _raise(Particular(status=401, body={"error": {"message": "bad key"}})),
    "recursion": _deeper,
    "memory": lambda: _raise(MemoryError()),
    "thread": _threaded,
    "exit": lambda: _raise(SystemExit(3)),
}


def _endless_list() -> list[Any]:
    loop: list[Any] = []
    loop.append({"again": loop})
    return loop


def _deep() -> Any:
    value: Any = 1
    for _ in range(2000):
        value = {"k": value}
    return value


UNSTORABLE: dict[str, Callable[[], Any]] = {
    "integer": lambda: {"balance": 10**21},
    "bare_integer": lambda: 10**21,
    "lambda": lambda: {"f": [lambda: 1]},
    "lock": threading.Lock,
    "generator": lambda: {"g": (n for n in range(3))},
    "socket": socket.socket,
    "circular": _endless_list,
    "deep": _deep,
    "key": lambda: {"keys": {10**21: 1}},
    "object_key": lambda: {object(): 1},
    "surrogate_key": lambda: {"\ud800": 1},
    "class": lambda: {"c": Person},
    "in_a_model": lambda: Person.model_construct(name="n", age=10**21),
    "in_a_set": lambda: {10**21},
}


async def bad(state: State, config: RunnableConfig) -> Any:
    """Raises as the input says."""
    return RAISED[state["how"]]()


async def good(state: State) -> dict[str, Any]:
    """Leaves a checkpoint behind."""
    return {"log": ["good"]}


def _raising() -> Any:
    graph = StateGraph(State)
    graph.add_node("good", good)
    graph.add_node("bad", bad)
    graph.add_edge(START, "good")
    graph.add_edge("good", "bad")
    graph.add_edge("bad", END)
    return graph.compile()


raises = _raising()

_inside = StateGraph(State)
_inside.add_node("inner", raises)
_inside.add_edge(START, "inner")
raises_inside = _inside.compile()

# ── wide ─────────────────────────────────────────────────────────────────────


def _reduced(old: Any, new: Any) -> Any:
    if new == "raise":
        raise ValueError("the reducer is broken")
    return new


class Wide(State, total=False):
    """A channel whose reducer may raise."""

    reduced: Annotated[Any, _reduced]


async def decide(state: Wide) -> dict[str, Any]:
    """Makes the reducer raise if the input says so."""
    return {"reduced": "raise" if state.get("where") == "reducer" else "fine"}


def edge(state: Wide) -> Any:
    """Raises in a conditional edge, or sends to a node that raises."""
    if state.get("where") == "edge":
        raise ValueError("the edge is broken")
    return [Send("bad", {"how": "plain"})]


_wide = StateGraph(Wide)
_wide.add_node("decide", decide)
_wide.add_node("bad", bad)
_wide.add_edge(START, "decide")
_wide.add_conditional_edges("decide", edge, ["bad"])
wide = _wide.compile()

# ── keeps ────────────────────────────────────────────────────────────────────


async def keep(state: State) -> Any:
    """Stores the value in the way that the input says."""
    value = UNSTORABLE[state["what"]]()
    match state.get("where"):
        case "interrupt":
            return {"v": interrupt({"ask": value})}
        case "send":
            return Command(goto=Send("after", {"task": value}))
        case "command":
            return Command(update={"v": value})
        case "store":
            await get_store().aput(("memories",), "key", {"v": value})
            return {}
    return {"v": value}


async def after(state: State) -> dict[str, Any]:
    """Takes a moment, so that a run that is not stopped would be visible."""
    await asyncio.sleep(0.01)
    return {"log": ["after"]}


def _keeping() -> Any:
    graph = StateGraph(State)
    graph.add_node("good", good)
    graph.add_node("bad", keep)
    graph.add_node("after", after)
    graph.add_edge(START, "good")
    graph.add_edge("good", "bad")
    graph.add_edge("bad", "after")
    graph.add_edge("after", END)
    return graph.compile()


keeps = _keeping()

# ── tried, endless, unmade ───────────────────────────────────────────────────

_tries: dict[str, int] = {}


async def trying(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Raises twice, then succeeds."""
    run = str(config.get("metadata", {})["run_id"])
    _tries[run] = _tries.get(run, 0) + 1
    if _tries[run] < 3:
        raise ConnectionError("not yet")
    return {"log": [f"try {_tries[run]}"]}


_tried = StateGraph(State)
_tried.add_node(
    "bad", trying, retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=3, jitter=False)
)
_tried.add_edge(START, "bad")
tried = _tried.compile()

_endless = StateGraph(State)
_endless.add_node("again", good)
_endless.add_edge(START, "again")
_endless.add_edge("again", "again")
endless = _endless.compile()


def unmade(config: RunnableConfig) -> Any:
    """A factory that needs a missing entry of its config."""
    return config["configurable"]["model"]
