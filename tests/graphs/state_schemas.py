"""Graphs with every kind of state schema, each of which does what its input says.

`do` is `answer`, `ask` (for an interrupt), `raise`, or `wait` (until a cancel). `notes` is not in the output schema of
a graph; `draft` is private to two nodes.

| graph | its state |
|---|---|
| `typed` `classy` `modelled` | TypedDict, dataclass, pydantic, with input and output schemas |
| `plain` | a TypedDict without schemas beside it |
| `private` | a TypedDict, and a private state between two nodes |
| `noted_talk` | MessagesState with notes; the output has only messages |
| `outer` | a graph with an output schema around one with another |
| `asking` | several questions at once, and an output schema |
| `managed` | managed values beside the state |
| `rooted` | the root channel `__root__` |
| `shadow` | keys that are fields of the API |
| `work` | the functional API: returns a value of the type that its input names |
| `saved` | `entrypoint.final`: what it returns is not what it saves |
"""

import asyncio
import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.managed import IsLastStep, RemainingSteps
from langgraph.types import Send, interrupt
from pydantic import BaseModel

WAITING: list[str] = []
"""Gets an item from each node that begins to wait."""
PASSING: list[str] = []
"""Not empty while nodes must not wait, because no test will stop them."""


async def act(do: str) -> str:
    """Does what the input says; returns the answer to an interrupt."""
    match do:
        case "ask":
            return str(interrupt({"question": "Go on?"}))
        case "raise":
            raise ValueError("It was asked to fail.")
        case "wait":
            WAITING.append(do)
            if not PASSING:
                await asyncio.sleep(60)
    return do


# ── schemas ──────────────────────────────────────────────────────────────────


class Question(TypedDict):
    """The input."""

    do: str


class Answer(TypedDict):
    """The output."""

    answer: str


class Everything(Question, Answer):
    """The state."""

    notes: Annotated[list[str], operator.add]


class Draft(TypedDict):
    """A private state between two nodes."""

    draft: str


async def typed_draft(state: Everything) -> Any:
    """Notes, and writes a draft for the next node."""
    return {"notes": ["thought"], "draft": f"draft of {state['do']}"}


async def typed_answer(state: Everything) -> Any:
    """Does what the input says."""
    return {"answer": await act(state["do"]), "notes": ["answered"]}


typed = (
    StateGraph(Everything, input_schema=Question, output_schema=Answer)
    .add_node("think", typed_draft)
    .add_node("answer", typed_answer)
    .add_edge(START, "think")
    .add_edge("think", "answer")
    .compile()
)


@dataclass
class DataQuestion:
    """The input."""

    do: str = "answer"


@dataclass
class DataAnswer:
    """The output."""

    answer: str = ""


@dataclass
class DataEverything(DataQuestion, DataAnswer):
    """The state."""

    notes: Annotated[list[str], operator.add] = field(default_factory=list)


async def classy_think(state: DataEverything) -> Any:
    """Notes."""
    return {"notes": ["thought"]}


async def classy_answer(state: DataEverything) -> Any:
    """Does what the input says."""
    return {"answer": await act(state.do), "notes": ["answered"]}


def thinking(builder: StateGraph[Any, Any, Any, Any]) -> Any:
    """Returns a graph whose first node notes, and whose second one does what the input says."""
    builder.add_node("think", classy_think).add_node("answer", classy_answer)
    return builder.add_edge(START, "think").add_edge("think", "answer").compile()


classy = thinking(StateGraph(DataEverything, input_schema=DataQuestion, output_schema=DataAnswer))


class ModelQuestion(BaseModel):
    """The input."""

    do: str
    times: int = 1


class ModelAnswer(BaseModel):
    """The output."""

    answer: str = ""


class ModelEverything(ModelQuestion, ModelAnswer):
    """The state."""

    notes: Annotated[list[str], operator.add] = []


modelled = thinking(
    StateGraph(ModelEverything, input_schema=ModelQuestion, output_schema=ModelAnswer)
)


class Plain(TypedDict, total=False):
    """A state without schemas beside it."""

    do: str
    answer: str
    steps: Annotated[list[str], operator.add]


async def plain_second(state: Plain) -> Any:
    """Does what the input says."""
    return {"answer": await act(state.get("do", "answer")), "steps": ["second"]}


plain = (
    StateGraph(Plain)
    .add_node("first", lambda state: {"steps": ["first"]})
    .add_node("second", plain_second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .compile()
)


async def private_first(state: Plain) -> Draft:
    """Writes a draft."""
    return {"draft": f"draft of {state.get('do', '')}"}


async def private_second(state: Draft) -> Any:
    """Does what the draft says, which is all that it gets."""
    return {
        "answer": await act(state["draft"].removeprefix("draft of ")),
        "steps": [state["draft"]],
    }


private = (
    StateGraph(Plain)
    .add_node("first", private_first)
    .add_node("second", private_second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .compile()
)


class Talk(MessagesState):
    """Messages and private notes."""

    notes: str


async def talk_reply(state: Talk) -> Any:
    """Answers the last message."""
    text = str(state["messages"][-1].content)
    return {"messages": [AIMessage(await act(text), id="ai-1")], "notes": f"heard {text}"}


noted_talk = (
    StateGraph(Talk, output_schema=MessagesState)
    .add_node("reply", talk_reply)
    .add_edge(START, "reply")
    .compile()
)

# ── graphs in graphs ─────────────────────────────────────────────────────────


class Outer(TypedDict, total=False):
    """The state of the outer graph."""

    do: str
    answer: str
    secret: str


outer = (
    StateGraph(Outer, output_schema=Answer)
    .add_node("before", lambda state: {"secret": "of the outer graph"})
    .add_node("inner", typed)
    .add_edge(START, "before")
    .add_edge("before", "inner")
    .compile()
)

# ── several at once ──────────────────────────────────────────────────────────


class Asks(TypedDict, total=False):
    """Questions and their answers."""

    asks: list[str]
    hidden: str
    answers: Annotated[list[Any], operator.add]


class Answers(TypedDict, total=False):
    """Only the answers."""

    answers: Annotated[list[Any], operator.add]


async def ask_one(state: Any) -> Any:
    """Asks; the answer `boom` fails. `!x` is done and not asked."""
    question = state["ask"]
    answer = await act(question[1:]) if question.startswith("!") else interrupt({"ask": question})
    if answer == "boom":
        raise ValueError(f"boom: {question}")
    return {"answers": [[question, answer]]}


asking = (
    StateGraph(Asks, output_schema=Answers)
    .add_node("fan", lambda state: {"hidden": "fan"})
    .add_node("ask", ask_one)
    .add_edge(START, "fan")
    .add_conditional_edges(
        "fan", lambda state: [Send("ask", {"ask": ask}) for ask in state.get("asks", [])], ["ask"]
    )
    .compile()
)

# ── values that no client gets ───────────────────────────────────────────────


class Managed(TypedDict, total=False):
    """A state with values that LangGraph manages."""

    do: str
    left: int
    remaining_steps: RemainingSteps
    is_last_step: IsLastStep


async def managed_node(state: Managed) -> Any:
    """Notes how many steps are left."""
    await act(state.get("do", "answer"))
    return {"left": state["remaining_steps"]}


managed = StateGraph(Managed).add_node("node", managed_node).add_edge(START, "node").compile()


async def rooted_node(state: list[str]) -> Any:
    """Adds to the list that is the state."""
    return [await act(state[-1] if state else "answer")]


Items: Any = Annotated[list, operator.add]

whole: Any = StateGraph(Items)
rooted = whole.add_node("node", rooted_node).add_edge(START, "node").compile()


class Shadow(TypedDict, total=False):
    """Keys that are fields of the API."""

    do: str
    values: Any
    next: Any
    tasks: Any
    interrupts: Any
    error: Any
    text: Any
    _private: Any


async def shadow_node(state: Shadow) -> Any:
    """Writes fields of the API into the state."""
    return {
        "values": {"values": 1},
        "next": ["x"],
        "tasks": 3,
        "interrupts": {"t": []},
        "error": "none",
        "text": {"__interrupt__": [], "said": "__interrupt__"},
        "_private": await act(state.get("do", "answer")),
    }


shadow = StateGraph(Shadow).add_node("node", shadow_node).add_edge(START, "node").compile()

# ── the functional API ───────────────────────────────────────────────────────


@dataclass
class Point:
    """A dataclass as a return value."""

    x: int
    y: int = 2


class Report(BaseModel):
    """A model as a return value."""

    title: str
    points: list[int] = []


@task
async def doing(do: str) -> str:
    """Does what the input says, in a task."""
    return await act(do)


RETURNED: dict[str, Any] = {
    "str": "text",
    "empty": "",
    "int": 7,
    "zero": 0,
    "list": ["a", 1, None],
    "none": None,
    "dict": {"a": 1},
    "dataclass": Point(1),
    "pydantic": Report(title="it", points=[1]),
    "interrupt-text": {"__interrupt__": "text"},
}


@entrypoint()
async def work(request: Any) -> Any:
    """Returns a value of the type that the input names."""
    if isinstance(request, str) and request in RETURNED:
        return RETURNED[request]
    do = request["do"] if isinstance(request, dict) else request
    return {"done": await doing(do), "what": request}


@entrypoint()
async def saved(do: Any, *, previous: Any = None) -> Any:
    """Returns one value, and saves another for the next call."""
    count = (previous or 0) + 1
    done = await doing(do)
    return entrypoint.final(value=f"{done} {count}", save=count)
