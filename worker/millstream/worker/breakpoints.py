"""Finds out from checkpoints whether a run had stopped at a breakpoint when its worker died.

A later attempt calls LangGraph without an input, and LangGraph then continues behind a breakpoint. A stop at a
breakpoint stores nothing, so only the checkpoints before it show where the run was.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START

from millstream.worker.graphs import Graph
from millstream.worker.request import Request

Nodes = Sequence[str] | Literal["*"]


async def stopped_at_breakpoint(graph: Graph, request: Request) -> bool:
    """Returns whether the run's last step ended at one of its breakpoints, before or after a node.

    The run itself has stored the newest checkpoint. So it has passed the breakpoint at which an earlier run
    stopped.
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
        return False  # a fork: the run continues with the step behind it
    if _has_breakpoint(before, state.next):
        return True
    if source == "input" or not after or state.parent_config is None:
        return False  # the run has executed no step yet
    step = await graph.aget_state(state.parent_config)
    return _has_breakpoint(after, step.next)


def _has_breakpoint(breakpoints: Nodes, nodes: Iterable[str]) -> bool:
    """Returns whether one of the nodes is a breakpoint; `*` means each node of the project."""
    if breakpoints == "*":
        return any(node != START for node in nodes)
    return any(node in breakpoints for node in nodes)
