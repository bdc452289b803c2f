"""Small graphs with branches, subgraphs, interrupts and errors. Each has the same result every time (see graphs.py)."""

import operator
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

# ── Branches, subgraphs, interrupts ──────────────────────────────────────────


class Items(TypedDict, total=False):
    """A list to which each node adds an item."""

    items: Annotated[list[Any], operator.add]
    item: Any


def plan(state: Items) -> dict[str, Any]:
    """Adds the first item."""
    return {"items": ["plan"]}


def work(state: Items) -> dict[str, Any]:
    """Does one task."""
    return {"items": [f"work {state.get('item')}"]}


def gather(state: Items) -> dict[str, Any]:
    """Adds the last item."""
    return {"items": ["gather"]}


def fan_out(state: Items) -> list[Send]:
    """Sends three tasks at once."""
    return [Send("work", {"item": number}) for number in range(3)]


_sends: Any = StateGraph(Items)
_sends.add_node("plan", plan)
_sends.add_node("work", work)
_sends.add_node("gather", gather)
_sends.add_edge(START, "plan")
_sends.add_conditional_edges("plan", fan_out, ["work"])
_sends.add_edge("work", "gather")
_sends.add_edge("gather", END)
sends = _sends.compile()


def goes(state: Items) -> Command[Any]:
    """Names the next node."""
    return Command(goto="gather", update={"items": ["goes"]})


_commands: Any = StateGraph(Items)
_commands.add_node("goes", goes, destinations=("gather",))
_commands.add_node("gather", gather)
_commands.add_edge(START, "goes")
_commands.add_edge("gather", END)
commands = _commands.compile()


def ask(state: Items) -> dict[str, Any]:
    """Asks once."""
    return {"items": [interrupt({"question": "go on?"})]}


def ask_twice(state: Items) -> dict[str, Any]:
    """Asks one thing, then another."""
    first = interrupt("first?")
    return {"items": [first, interrupt("second?")]}


_inner: Any = StateGraph(Items)
_inner.add_node("plan", plan)
_inner.add_node("ask", ask)
_inner.add_edge(START, "plan")
_inner.add_edge("plan", "ask")
_inner.add_edge("ask", END)

_asking_inside: Any = StateGraph(Items)
_asking_inside.add_node("inner", _inner.compile())
_asking_inside.add_node("gather", gather)
_asking_inside.add_edge(START, "inner")
_asking_inside.add_edge("inner", "gather")
_asking_inside.add_edge("gather", END)
asking_inside = _asking_inside.compile()

_asking_twice: Any = StateGraph(Items)
_asking_twice.add_node("ask_twice", ask_twice)
_asking_twice.add_edge(START, "ask_twice")
_asking_twice.add_edge("ask_twice", END)
asking_twice = _asking_twice.compile()

_stopping: Any = StateGraph(Items)
_stopping.add_node("plan", plan)
_stopping.add_node("gather", gather)
_stopping.add_edge(START, "plan")
_stopping.add_edge("plan", "gather")
_stopping.add_edge("gather", END)
stopping = _stopping.compile(interrupt_before=["gather"])


def to_parent(state: Items) -> Command[Any]:
    """Continues in the parent graph."""
    return Command(graph=Command.PARENT, goto="gather", update={"items": ["from inside"]})


_leaving_inner: Any = StateGraph(Items)
_leaving_inner.add_node("to_parent", to_parent)
_leaving_inner.add_edge(START, "to_parent")
_leaving: Any = StateGraph(Items)
_leaving.add_node("inner", _leaving_inner.compile(), destinations=("gather",))
_leaving.add_node("gather", gather)
_leaving.add_edge(START, "inner")
_leaving.add_edge("gather", END)
leaving = _leaving.compile()


class Deep(TypedDict, total=False):
    """The state of a graph two levels down."""

    items: Annotated[list[Any], operator.add]
    inner: str


def deepest(state: Deep) -> dict[str, Any]:
    """Streams from the innermost graph."""
    get_stream_writer()({"from": "deepest"})
    return {"items": ["deepest"], "inner": "kept inside"}


_level_two: Any = StateGraph(Deep)
_level_two.add_node("deepest", deepest)
_level_two.add_edge(START, "deepest")
_level_one: Any = StateGraph(Deep)
_level_one.add_node("two", _level_two.compile())
_level_one.add_edge(START, "two")
_deep: Any = StateGraph(Items)
_deep.add_node("one", _level_one.compile())
_deep.add_edge(START, "one")
deep = _deep.compile()

# ── Errors ───────────────────────────────────────────────────────────────────

_tries: dict[str, int] = {}


def trying(state: Items, config: RunnableConfig) -> dict[str, Any]:
    """Raises twice, then succeeds."""
    run = str(config.get("metadata", {})["run_id"])
    _tries[run] = _tries.get(run, 0) + 1
    if _tries[run] < 3:
        raise ConnectionError("not yet")
    return {"items": ["tried"]}


_retried: Any = StateGraph(Items)
_policy = RetryPolicy(initial_interval=0.01, max_attempts=3, jitter=False)
_retried.add_node("trying", trying, retry_policy=_policy)
_retried.add_edge(START, "trying")
retried = _retried.compile()


def grouped(state: Items) -> dict[str, Any]:
    """Raises a group of one error."""
    raise ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("401")])


_group: Any = StateGraph(Items)
_group.add_node("grouped", grouped)
_group.add_edge(START, "grouped")
group = _group.compile()


def broken(state: Items) -> dict[str, Any]:
    """Raises, inside a subgraph."""
    get_stream_writer()("before it breaks")
    raise RuntimeError("broken inside")


_broken_inner: Any = StateGraph(Items)
_broken_inner.add_node("plan", plan)
_broken_inner.add_node("broken", broken)
_broken_inner.add_edge(START, "plan")
_broken_inner.add_edge("plan", "broken")
_broken_inside: Any = StateGraph(Items)
_broken_inside.add_node("inner", _broken_inner.compile())
_broken_inside.add_edge(START, "inner")
broken_inside = _broken_inside.compile()

_conflict: Any = StateGraph(Items)


def one(state: Items) -> dict[str, Any]:
    """Writes a key that another node writes in the same step."""
    return {"item": 1}


_conflict.add_node("one", one)
_conflict.add_node("other", one)
_conflict.add_edge(START, "one")
_conflict.add_edge(START, "other")
conflict = _conflict.compile()

_endless: Any = StateGraph(Items)
_endless.add_node("plan", plan)
_endless.add_edge(START, "plan")
_endless.add_edge("plan", "plan")
endless = _endless.compile()
