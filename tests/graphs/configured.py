"""Graphs that show what a run's config does to them.

| graph | shows |
|---|---|
| `fan` | how many of its six tasks ran at a time |
| `bound_fan` | the same, bound to `max_concurrency` 3 |
| `configured` | what its node found in its config |
| `bound` | the same, bound to a config of its own |
"""

import asyncio
import contextlib
import operator
from collections import defaultdict
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

LINGER = 0.02  # s that a task stays after as many as are expected have met: more would show
PATIENCE = 10.0  # s that it waits for them


class Meeting:
    """The tasks of one run that are at work."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.met = asyncio.Event()


MEETINGS: dict[str, Meeting] = defaultdict(Meeting)  # by run


class Fan(TypedDict, total=False):
    """How many tasks are expected at work, and how many each task found."""

    expected: int
    at_once: Annotated[list[int], operator.add]


async def work(state: Fan, config: RunnableConfig) -> Fan:
    """Wait for the others, and count them."""
    meeting = MEETINGS[config["configurable"]["run_id"]]
    meeting.now += 1
    meeting.most = max(meeting.most, meeting.now)
    if meeting.now >= state["expected"]:
        meeting.met.set()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(meeting.met.wait(), PATIENCE)
    await asyncio.sleep(LINGER)
    meeting.now -= 1
    return {"at_once": [meeting.most]}


_fan: Any = StateGraph(Fan)
_fan.add_node("work", work)
_fan.add_conditional_edges(START, lambda state: [Send("work", state)] * 6, ["work"])
_fan.add_edge("work", END)
fan = _fan.compile()
bound_fan = fan.with_config(max_concurrency=3)


class Seen(TypedDict, total=False):
    """What the node found."""

    seen: dict[str, Any]


async def look(state: Seen, config: RunnableConfig) -> Seen:
    """Write the config down."""
    configurable = config["configurable"]
    shown: Any = {k: v for k, v in config.items() if k in ("tags", "recursion_limit")}
    shown["metadata"] = dict(config["metadata"])
    shown["configurable"] = {k: v for k, v in configurable.items() if not k.startswith("__pregel")}
    shown["max_concurrency"] = config.get("max_concurrency")
    return {"seen": shown}


_look: Any = StateGraph(Seen)
_look.add_node("look", look)
_look.add_edge(START, "look")
_look.add_edge("look", END)
configured = _look.compile()
bound = configured.with_config(
    tags=["bound"],
    metadata={"bound": "graph", "both": "graph"},
    recursion_limit=60,
    max_concurrency=5,
    run_name="its own name",
    configurable={"bound": "graph", "both": "graph"},
)
