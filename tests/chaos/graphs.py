"""Graphs that check themselves: a step that gets a wrong state raises, and its run fails.

Their input is `token` (names the run), `goal` (the number of steps), and `at`: 0. Set in
`config.configurable`: `delay` the seconds a step, `folder` for the step counts (step_counts.py).
"""

import asyncio
import operator
import os
import time
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chaos import chain
from chaos.step_counts import note_step_count

POISONED = 86  # the exit status of a process that the graph `poison` ended

Graph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]


class State(TypedDict, total=False):
    """See chain.py."""

    token: str
    goal: int
    at: int  # steps that the run has taken
    steps: Annotated[list[str], operator.add]
    seal: str


class WrongStateError(Exception):
    """A step got a state that the steps before it can't have written."""


def _enter(state: State, config: RunnableConfig) -> chain.Item:
    """Checks the step's state. Returns the item that the step will write."""
    token, at = state["token"], state["at"]
    attempt = int(config["metadata"]["run_attempt"])
    if wrong := chain.chain_error(state):
        raise WrongStateError(wrong)
    part = chain.steps_of(state, token)
    if len(part) != at:
        raise WrongStateError(f"step {at} follows {chain.format_steps(part)}")
    if part and chain.items(state)[-at:] != part:
        raise WrongStateError(f"step {at} of {token} comes after another run's")
    if part and part[-1].attempt > attempt:
        raise WrongStateError(f"attempt {attempt} continues from {part[-1]}")
    note_step_count(Path(config["configurable"]["folder"]), token, attempt, at)
    return chain.Item(token, at, attempt)


def _leave(state: State, item: chain.Item) -> State:
    seal = chain.link(state.get("seal") or "", str(item))
    return {"steps": [str(item)], "at": item.number + 1, "seal": seal}


async def _step(state: State, config: RunnableConfig) -> State:
    item = _enter(state, config)
    writer = get_stream_writer()
    for number in range(item.number * chain.EVENTS, (item.number + 1) * chain.EVENTS):
        writer({"token": item.token, "number": number, "at": round(time.time() * 1000)})
        await asyncio.sleep(config["configurable"]["delay"] / chain.EVENTS)
    return _leave(state, item)


def _blocking_step(state: State, config: RunnableConfig) -> State:
    """A step in a thread, which can't be cancelled."""
    item = _enter(state, config)
    writer = get_stream_writer()
    for number in range(item.number * chain.EVENTS, (item.number + 1) * chain.EVENTS):
        writer({"token": item.token, "number": number, "at": round(time.time() * 1000)})
        time.sleep(config["configurable"]["delay"] / chain.EVENTS)
    return _leave(state, item)


async def _poisonous_step(state: State, config: RunnableConfig) -> State:
    """A step that ends its process in the middle of the run."""
    if state["at"] == state["goal"] // 2:
        await asyncio.sleep(config["configurable"]["delay"])  # other runs start meanwhile
        os._exit(POISONED)
    return await _step(state, config)


def _more(state: State) -> str:
    return "step" if state["at"] < state["goal"] else END


def _graph(step: Any) -> Graph:
    graph: StateGraph[State, None, State, State] = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", _more, ["step", END])
    return graph.compile()


walk = _graph(_step)
blocking = _graph(_blocking_step)
poison = _graph(_poisonous_step)
