"""Graphs that show the effect of a run's config.

| graph | shows |
|---|---|
| `fan` | how many of its six tasks ran at a time |
| `bound_fan` | the same, bound to `max_concurrency` 3 |
| `configured` | the config that its node got |
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

LINGER_SECONDS = 0.02  # that a task stays after the expected number have met: more would be visible
MEET_SECONDS = 10.0  # that it waits for the others


class Meeting:
    """The tasks of one run that run now."""

    def __init__(self) -> None:
        self.now = 0
        self.max = 0
        self.met = asyncio.Event()


MEETINGS: dict[str, Meeting] = defaultdict(Meeting)  # by run


class Fan(TypedDict, total=False):
    """The number of tasks expected at once, and the number that each task saw."""

    expected: int
    at_once: Annotated[list[int], operator.add]


async def work(state: Fan, config: RunnableConfig) -> Fan:
    """Waits for the other tasks, and counts them."""
    meeting = MEETINGS[config["configurable"]["run_id"]]
    meeting.now += 1
    meeting.max = max(meeting.max, meeting.now)
    if meeting.now >= state["expected"]:
        meeting.met.set()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(meeting.met.wait(), MEET_SECONDS)
    await asyncio.sleep(LINGER_SECONDS)
    meeting.now -= 1
    return {"at_once": [meeting.max]}


_fan: Any = StateGraph(Fan)
_fan.add_node("work", work)
_fan.add_conditional_edges(START, lambda state: [Send("work", state)] * 6, ["work"])
_fan.add_edge("work", END)
fan = _fan.compile()
bound_fan = fan.with_config(max_concurrency=3)


class Seen(TypedDict, total=False):
    """The config that the node got."""

    seen: dict[str, Any]


async def look(state: Seen, config: RunnableConfig) -> Seen:
    """Writes its config to the state."""
    configurable = config["configurable"]
    seen: Any = {k: v for k, v in config.items() if k in ("tags", "recursion_limit")}
    seen["metadata"] = dict(config["metadata"])
    seen["configurable"] = {k: v for k, v in configurable.items() if not k.startswith("__pregel")}
    seen["max_concurrency"] = config.get("max_concurrency")
    return {"seen": seen}


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
