"""Nine small graphs that need no model and no key. Each shows one feature that a run server must support.

| graph | shows | set in `config.configurable` |
|---|---|---|
| `chat` | a chat model that streams its tokens | `tokens` (20), `delay` seconds per token (0) |
| `steps` | a loop, one superstep per item | `n` steps (3), `delay` seconds per step (0) |
| `approval` | `interrupt()`: the run stops and waits for a person's answer | |
| `nested` | a graph as a node of another graph | |
| `boom` | a node that fails after one that succeeded | |
| `custom` | a node that writes its own progress to the stream | `n` writes (3) |
| `slow` | a node that takes long: a run to cancel, or to leave and join again | `seconds` (30) |
| `echo` | a message without a chat model | |
| `nested_chat` | a chat model inside a subgraph | as `chat` |

The answers are always the same, so tests compare these graphs' events with recorded ones.
"""

import asyncio
import operator
import re
import time
from collections.abc import AsyncIterator, Iterator
from itertools import cycle, islice
from typing import Annotated, Any, TypeAlias, TypedDict

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt

Graph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]

SENTENCE = (
    "The quick brown fox jumps over the lazy dog, while twenty small tokens stream out one by one."
)
TOKENS = re.findall(r" ?\w+|[,.]", SENTENCE)
"""Twenty tokens, split like a model's: a space belongs to the next word, punctuation is a token."""


def knob(config: RunnableConfig, name: str, default: float) -> float:
    """Read a number from the run's `config.configurable`."""
    value = config.get("configurable", {}).get(name)
    return default if value is None else float(value)


# ── chat: a chat model that streams ──────────────────────────────────────────


class FixedTokens(BaseChatModel):
    """A chat model that answers every conversation with the same tokens.

    It waits `delay` seconds before each token, and only when the tokens are streamed.
    """

    tokens: list[str] = TOKENS
    delay: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "fixed-tokens"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = AIMessage(content="".join(self.tokens))
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for token in self.tokens:
            if self.delay:
                time.sleep(self.delay)
            yield ChatGenerationChunk(message=AIMessageChunk(content=token))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for token in self.tokens:
            if self.delay:
                await asyncio.sleep(self.delay)
            yield ChatGenerationChunk(message=AIMessageChunk(content=token))


async def ask_model(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Answer with the first `tokens` tokens; after the last one they repeat."""
    count = int(knob(config, "tokens", len(TOKENS)))
    model = FixedTokens(
        tokens=list(islice(cycle(TOKENS), count)),
        delay=knob(config, "delay", 0),
    )
    return {"messages": [await model.ainvoke(state["messages"], config)]}


def chat_builder() -> StateGraph[MessagesState]:
    """One node that calls the model: START → model → END."""
    builder = StateGraph(MessagesState)
    builder.add_node("model", ask_model)
    builder.add_edge(START, "model")
    builder.add_edge("model", END)
    return builder


def build_chat() -> Graph:
    """A chat of one model."""
    return chat_builder().compile(name="chat")


# ── steps: a loop ────────────────────────────────────────────────────────────


class ItemsState(TypedDict, total=False):
    """A list that nodes append to: the reducer adds what a node returns."""

    items: Annotated[list[Any], operator.add]


async def count_step(state: ItemsState, config: RunnableConfig) -> dict[str, Any]:
    """Append the number of items so far."""
    if delay := knob(config, "delay", 0):
        await asyncio.sleep(delay)
    return {"items": [len(state.get("items", []))]}


def _more(state: ItemsState, config: RunnableConfig) -> str:
    """Repeat until there are `n` items. (Clients see this function's name in `events`.)"""
    return "step" if len(state.get("items", [])) < int(knob(config, "n", 3)) else END


def build_steps() -> Graph:
    """One node in a loop: START → step ⟲ → END."""
    builder = StateGraph(ItemsState)
    builder.add_node("step", count_step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", _more, ["step", END])
    return builder.compile(name="steps")


# ── approval: a person in the loop ───────────────────────────────────────────


class ApprovalState(TypedDict, total=False):
    """What is to be approved, the person's answer, and the nodes that ran."""

    topic: str
    answer: Any
    log: Annotated[list[str], operator.add]


async def note_before(state: ApprovalState) -> dict[str, Any]:
    """Write to the log, which shows that a resumed run does not execute this node again."""
    return {"log": ["before"]}


async def ask_person(state: ApprovalState) -> dict[str, Any]:
    """Stop until there is an answer; on resume this node runs again and `interrupt` returns it."""
    answer = interrupt({"question": f"approve {state.get('topic')}?"})
    return {"answer": answer, "log": ["ask"]}


async def note_after(state: ApprovalState) -> dict[str, Any]:
    """Write to the log after the answer."""
    return {"log": ["after"]}


def build_approval() -> Graph:
    """START → before → ask (stops here) → after → END."""
    builder = StateGraph(ApprovalState)
    builder.add_node("before", note_before)
    builder.add_node("ask", ask_person)
    builder.add_node("after", note_after)
    builder.add_edge(START, "before")
    builder.add_edge("before", "ask")
    builder.add_edge("ask", "after")
    builder.add_edge("after", END)
    return builder.compile(name="approval")


# ── nested: a graph in a graph ───────────────────────────────────────────────


class TextState(TypedDict, total=False):
    """The outer graph's state; `text` is what both graphs share."""

    text: str


class TrailState(TypedDict, total=False):
    """The inner graph's state; `trail` never leaves it."""

    text: str
    trail: Annotated[list[str], operator.add]


async def outer_pre(state: TextState) -> dict[str, Any]:
    """Mark the text before the inner graph."""
    return {"text": state.get("text", "") + "+pre"}


async def outer_post(state: TextState) -> dict[str, Any]:
    """Mark the text after the inner graph."""
    return {"text": state.get("text", "") + "+post"}


async def inner_c1(state: TrailState) -> dict[str, Any]:
    """Mark text and trail, first inner node."""
    return {"trail": ["c1"], "text": state.get("text", "") + "+c1"}


async def inner_c2(state: TrailState) -> dict[str, Any]:
    """Mark text and trail, second inner node."""
    return {"trail": ["c2"], "text": state.get("text", "") + "+c2"}


def build_child() -> Graph:
    """The inner graph: START → c1 → c2 → END."""
    builder = StateGraph(TrailState)
    builder.add_node("c1", inner_c1)
    builder.add_node("c2", inner_c2)
    builder.add_edge(START, "c1")
    builder.add_edge("c1", "c2")
    builder.add_edge("c2", END)
    return builder.compile()


def build_nested() -> Graph:
    """The outer graph: START → pre → child (a graph) → post → END."""
    builder = StateGraph(TextState)
    builder.add_node("pre", outer_pre)
    builder.add_node("child", build_child())
    builder.add_node("post", outer_post)
    builder.add_edge(START, "pre")
    builder.add_edge("pre", "child")
    builder.add_edge("child", "post")
    builder.add_edge("post", END)
    return builder.compile(name="nested")


# ── boom: a failure ──────────────────────────────────────────────────────────


async def succeed(state: ItemsState) -> dict[str, Any]:
    """Write an item that stays although the next node fails."""
    return {"items": ["ok"]}


async def fail(state: ItemsState) -> dict[str, Any]:
    """Raise an exception."""
    raise ValueError("boom")


def build_boom() -> Graph:
    """START → ok → boom (raises)."""
    builder = StateGraph(ItemsState)
    builder.add_node("ok", succeed)
    builder.add_node("boom", fail)
    builder.add_edge(START, "ok")
    builder.add_edge("ok", "boom")
    builder.add_edge("boom", END)
    return builder.compile(name="boom")


# ── custom: a node's own events ──────────────────────────────────────────────


async def emit_progress(state: ItemsState, config: RunnableConfig) -> dict[str, Any]:
    """Write `n` objects and a bare string: any JSON value may be streamed."""
    write = get_stream_writer()
    total = int(knob(config, "n", 3))
    for done in range(1, total + 1):
        write({"progress": done, "of": total})
    write("a plain string")
    return {"items": ["emitted"]}


def build_custom() -> Graph:
    """START → emit → END."""
    builder = StateGraph(ItemsState)
    builder.add_node("emit", emit_progress)
    builder.add_edge(START, "emit")
    builder.add_edge("emit", END)
    return builder.compile(name="custom")


# ── slow: a long wait ────────────────────────────────────────────────────────


async def note_start(state: ItemsState) -> dict[str, Any]:
    """Return at once, so that there is a checkpoint before the long wait."""
    return {"items": ["started"]}


async def sleep_long(state: ItemsState, config: RunnableConfig) -> dict[str, Any]:
    """Wait for `seconds`."""
    await asyncio.sleep(knob(config, "seconds", 30))
    return {"items": ["slept"]}


def build_slow() -> Graph:
    """START → start → sleepy → END."""
    builder = StateGraph(ItemsState)
    builder.add_node("start", note_start)
    builder.add_node("sleepy", sleep_long)
    builder.add_edge(START, "start")
    builder.add_edge("start", "sleepy")
    builder.add_edge("sleepy", END)
    return builder.compile(name="slow")


# ── echo: a message without a model ──────────────────────────────────────────


async def repeat(state: MessagesState) -> dict[str, Any]:
    """Answer with the last message; the fixed id makes a second answer replace the first."""
    heard = state["messages"][-1].content
    return {"messages": [AIMessage(content=f"echo: {heard}", id="echo-1")]}


def build_echo() -> Graph:
    """START → echo → END."""
    builder = StateGraph(MessagesState)
    builder.add_node("echo", repeat)
    builder.add_edge(START, "echo")
    builder.add_edge("echo", END)
    return builder.compile(name="echo")


# ── nested_chat: a model inside a subgraph ───────────────────────────────────


def build_nested_chat() -> Graph:
    """START → inner (the chat graph) → END."""
    builder = StateGraph(MessagesState)
    builder.add_node("inner", chat_builder().compile())
    builder.add_edge(START, "inner")
    builder.add_edge("inner", END)
    return builder.compile(name="nested_chat")


chat = build_chat()
steps = build_steps()
approval = build_approval()
nested = build_nested()
boom = build_boom()
custom = build_custom()
slow = build_slow()
echo = build_echo()
nested_chat = build_nested_chat()
