"""Small graphs with state schemas, of the functional API and with messages.

They run on Millstream and on another server of the API, whose responses are compared. So each has the same
result every time: nothing here is random, waits, or depends on the machine.
"""

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import BaseModel

# ── Schemas ──────────────────────────────────────────────────────────────────


class Question(TypedDict, total=False):
    """The input."""

    question: str


class Answer(TypedDict, total=False):
    """The output."""

    answer: str


class Known(Question, Answer, total=False):
    """The state."""

    notes: Annotated[list[str], operator.add]


class Secret(TypedDict, total=False):
    """A private state between two nodes."""

    hint: str


def think(state: Question) -> dict[str, Any]:
    """Notes the question, and writes a private key."""
    return {"notes": [f"asked {state.get('question')}"], "hint": "42"}


def answer(state: Secret) -> dict[str, Any]:
    """Answers with the private key."""
    return {"answer": f"it is {state['hint']}", "notes": ["answered"]}


_schemas: Any = StateGraph(Known, input_schema=Question, output_schema=Answer)
_schemas.add_node("think", think)
_schemas.add_node("answer", answer, input_schema=Secret)
_schemas.add_edge(START, "think")
_schemas.add_edge("think", "answer")
_schemas.add_edge("answer", END)
schemas = _schemas.compile()


def confirm(state: Known) -> dict[str, Any]:
    """Asks before it answers."""
    return {"answer": str(interrupt("sure?")), "notes": ["confirmed"]}


_schemas_asking: Any = StateGraph(Known, input_schema=Question, output_schema=Answer)
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
    """Increments the count."""
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
    """Stores a model, and counts."""
    return {"home": Address(street=f"{state.name} street"), "visits": state.visits + 1}


_pydantic: Any = StateGraph(Customer)
_pydantic.add_node("visit", visit)
_pydantic.add_edge(START, "visit")
_pydantic.add_edge("visit", END)
pydantic = _pydantic.compile()


@dataclass
class Context:
    """A runtime context."""

    model: str = "small"
    level: int = 1


def contextual(state: Known, runtime: Runtime[Context]) -> dict[str, Any]:
    """Answers with the context."""
    return {"answer": f"{runtime.context.model} {runtime.context.level}"}


_context: Any = StateGraph(Known, context_schema=Context)
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
async def functional(values: dict[str, Any]) -> dict[str, Any]:
    """Returns a mapping."""
    get_stream_writer()({"doubling": values["n"]})
    return {"doubled": await double(values["n"])}


@entrypoint()
async def functional_number(values: dict[str, Any]) -> int:
    """Returns a number."""
    return int(await double(values["n"]))


@entrypoint()
async def functional_list(values: dict[str, Any]) -> list[int]:
    """Returns a list."""
    return [values["n"], await double(values["n"])]


@entrypoint()
async def functional_text(values: dict[str, Any]) -> str:
    """Returns a text."""
    return f"n is {values['n']}"


@entrypoint()
async def functional_asking(values: dict[str, Any]) -> dict[str, Any]:
    """Asks between two tasks."""
    doubled = await double(values["n"])
    return {"doubled": doubled, "said": interrupt({"doubled": doubled})}


# ── Messages ─────────────────────────────────────────────────────────────────


@tool
def lookup(term: str) -> str:
    """Looks a word up."""
    return f"{term}: found"


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
