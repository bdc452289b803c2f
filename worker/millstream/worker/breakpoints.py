"""Whether a run had stopped at a breakpoint when its worker died.

LangGraph goes on behind a breakpoint when it is called without an input, which is how a later attempt
calls it. The attempt that stopped there has stored nothing of it, so it is told by the checkpoints.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START

from millstream.worker.graphs import Graph
from millstream.worker.request import Request

Nodes = Sequence[str] | Literal["*"]


async def stopped_at_breakpoint(graph: Graph, request: Request) -> bool:
    """Returns whether the run ended its last step before, or after, a node at which it is to stop.

    The newest checkpoint is the run's own, so it is one behind which the run would have stopped: the
    breakpoint that an earlier run stopped at is passed by then.
    """
    before: Nodes = request.kwargs.interrupt_before or graph.interrupt_before_nodes
    after: Nodes = request.kwargs.interrupt_after or graph.interrupt_after_nodes
    if not before and not after:
        return False
    thread_id = request.config["configurable"]["thread_id"]
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    state = await graph.aget_state(config)
    source = (state.metadata or {}).get("source")
    if source not in ("input", "loop"):
        return False  # a fork: the step behind it is the one that the run was to go on with
    if _is_one(before, state.next):
        return True
    if source == "input" or not after or state.parent_config is None:
        return False  # no step of this run came before
    step = await graph.aget_state(state.parent_config)
    return _is_one(after, step.next)


def _is_one(breakpoints: Nodes, nodes: Iterable[str]) -> bool:
    """Returns whether one of the nodes is a breakpoint; `*` is each node of the user's."""
    if breakpoints == "*":
        return any(node != START for node in nodes)
    return any(node in breakpoints for node in nodes)
