"""Graphs of the kinds that projects are made of, each small, each with the same result every time.

They run on Millstream and on another server of the API, whose answers are compared. Nothing here is
random, waits, or depends on the machine.
"""

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import Command, RetryPolicy, Send, interrupt
from pydantic import BaseModel

# ── Schemas ──────────────────────────────────────────────────────────────────


class Asked(TypedDict, total=False):
    """What goes in."""

    question: str


class Told(TypedDict, total=False):
    """What comes out."""

    answer: str


class Known(Asked, Told, total=False):
    """What is kept."""

    notes: Annotated[list[str], operator.add]


class Secret(TypedDict, total=False):
    """What one node hands another, and nobody else sees."""

    hint: str


def think(state: Asked) -> dict[str, Any]:
    """Notes the question, and writes a private key."""
    return {"notes": [f"asked {state.get('question')}"], "hint": "42"}


def answer(state: Secret) -> dict[str, Any]:
    """Answers with the private key."""
    return {"answer": f"it is {state['hint']}", "notes": ["answered"]}


_schemas: Any = StateGraph(Known, input_schema=Asked, output_schema=Told)
_schemas.add_node("think", think)
_schemas.add_node("answer", answer, input_schema=Secret)
_schemas.add_edge(START, "think")
_schemas.add_edge("think", "answer")
_schemas.add_edge("answer", END)
schemas = _schemas.compile()


def confirm(state: Known) -> dict[str, Any]:
    """Asks before it answers."""
    return {"answer": str(interrupt("sure?")), "notes": ["confirmed"]}


_schemas_asking: Any = StateGraph(Known, input_schema=Asked, output_schema=Told)
_schemas_asking.add_node("think", think)
_schemas_asking.add_node("confirm", confirm)
_schemas_asking.add_edge(START, "think")
_schemas_asking.add_edge("think", "confirm")
_schemas_asking.add_edge("confirm", END)
schemas_asking = _schemas_asking.compile()


@dataclass
class Order:
    """A state that is a dataclass."""

    item: str
    count: int = 1
    log: Annotated[list[str], operator.add] = field(default_factory=list)


def ship(state: Order) -> dict[str, Any]:
    """Counts on."""
    return {"count": state.count + 1, "log": [state.item]}


_dataclass: Any = StateGraph(Order)
_dataclass.add_node("ship", ship)
_dataclass.add_edge(START, "ship")
_dataclass.add_edge("ship", END)
dataclassed = _dataclass.compile()


class Address(BaseModel):
    """A model in a model."""

    street: str
    number: int = 1


class Customer(BaseModel):
    """A state that is a pydantic model."""

    name: str
    home: Address | None = None
    visits: int = 0


def visit(state: Customer) -> dict[str, Any]:
    """Keeps a model, and counts."""
    return {"home": Address(street=f"{state.name} street"), "visits": state.visits + 1}


_pydantic: Any = StateGraph(Customer)
_pydantic.add_node("visit", visit)
_pydantic.add_edge(START, "visit")
_pydantic.add_edge("visit", END)
pydantic = _pydantic.compile()


@dataclass
class Wanted:
    """A runtime context."""

    model: str = "small"
    level: int = 1


def contextual(state: Known, runtime: Runtime[Wanted]) -> dict[str, Any]:
    """Shows the context."""
    return {"answer": f"{runtime.context.model} {runtime.context.level}"}


_context: Any = StateGraph(Known, context_schema=Wanted)
_context.add_node("contextual", contextual)
_context.add_edge(START, "contextual")
_context.add_edge("contextual", END)
context = _context.compile()

# ── The functional API ───────────────────────────────────────────────────────


@task
def double(number: int) -> int:
    """A task."""
    return number * 2


@entrypoint()
async def functional(given: dict[str, Any]) -> dict[str, Any]:
    """Returns a mapping."""
    get_stream_writer()({"doubling": given["n"]})
    return {"doubled": await double(given["n"])}


@entrypoint()
async def functional_number(given: dict[str, Any]) -> int:
    """Returns a number."""
    return int(await double(given["n"]))


@entrypoint()
async def functional_list(given: dict[str, Any]) -> list[int]:
    """Returns a list."""
    return [given["n"], await double(given["n"])]


@entrypoint()
async def functional_text(given: dict[str, Any]) -> str:
    """Returns a text."""
    return f"n is {given['n']}"


@entrypoint()
async def functional_asking(given: dict[str, Any]) -> dict[str, Any]:
    """Asks between two tasks."""
    doubled = await double(given["n"])
    return {"doubled": doubled, "said": interrupt({"doubled": doubled})}


# ── Branches, subgraphs, interrupts ──────────────────────────────────────────


class Items(TypedDict, total=False):
    """A list that each node adds to."""

    items: Annotated[list[Any], operator.add]
    item: Any


def plan(state: Items) -> dict[str, Any]:
    """Begins."""
    return {"items": ["plan"]}


def work(state: Items) -> dict[str, Any]:
    """Does one part."""
    return {"items": [f"work {state.get('item')}"]}


def gather(state: Items) -> dict[str, Any]:
    """Ends."""
    return {"items": ["gather"]}


def fan_out(state: Items) -> list[Send]:
    """Three at once."""
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
    """Names where to go on."""
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
    """Goes on in the graph around it."""
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
    own: str


def deepest(state: Deep) -> dict[str, Any]:
    """Streams from the innermost graph."""
    get_stream_writer()({"from": "deepest"})
    return {"items": ["deepest"], "own": "kept inside"}


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

# ── Messages ─────────────────────────────────────────────────────────────────


@tool
def lookup(word: str) -> str:
    """Looks a word up."""
    return f"{word}: found"


def call_tool(_: MessagesState) -> dict[str, Any]:
    """Calls the tool as a model would."""
    calls = [{"name": "lookup", "args": {"word": "x"}, "id": "call-1"}]
    return {"messages": [AIMessage("", tool_calls=calls, id="ai-1")]}


_tools: Any = StateGraph(MessagesState)
_tools.add_node("call", call_tool)
_tools.add_node("tools", ToolNode([lookup]))
_tools.add_edge(START, "call")
_tools.add_edge("call", "tools")
_tools.add_edge("tools", END)
tools = _tools.compile()


def forget(state: MessagesState) -> dict[str, Any]:
    """Removes the first message, and adds two."""
    first = state["messages"][0]
    return {
        "messages": [
            RemoveMessage(id=str(first.id)),
            HumanMessage("kept", id="h-2"),
            ToolMessage("result", tool_call_id="c", id="t-1"),
        ]
    }


_forgetting: Any = StateGraph(MessagesState)
_forgetting.add_node("forget", forget)
_forgetting.add_edge(START, "forget")
_forgetting.add_edge("forget", END)
forgetting = _forgetting.compile()

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
