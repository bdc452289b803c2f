"""A thread's state, as LangGraph has it and as the API shows it."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from millstream.shared.wire import Call
from millstream.worker.encode import encode
from millstream.worker.graphs import GraphRegistry


async def get(registry: GraphRegistry, saver: BaseCheckpointSaver[Any], call: Call) -> bytes:
    """`state`: a thread's state. Arguments: thread_id, subgraphs."""
    thread_id = call.arguments["thread_id"]
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    async with registry.open(call.graph_id, config, saver) as graph:
        snapshot = await graph.aget_state(config, subgraphs=bool(call.arguments["subgraphs"]))
        return encode(show_state(snapshot, thread_id))


def show_state(snapshot: StateSnapshot, thread_id: str) -> dict[str, Any]:
    """Returns a `ThreadState` as the API shows it. Source: the reference server's answers."""
    checkpoint = _place(snapshot.config, thread_id)
    parent = _place(snapshot.parent_config, thread_id)
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "tasks": [
            {
                "id": task.id,
                "name": task.name,
                "path": task.path,
                "error": _error(task.error),
                "interrupts": [_interrupt(i) for i in task.interrupts],
                "checkpoint": _task_place(task.state, thread_id),
                "state": show_state(task.state, thread_id)
                if isinstance(task.state, StateSnapshot)
                else None,
                "result": task.result,
            }
            for task in snapshot.tasks
        ],
        "metadata": snapshot.metadata,
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [_interrupt(i) for i in snapshot.interrupts],
        "checkpoint_id": checkpoint["checkpoint_id"] if checkpoint else None,
        "parent_checkpoint_id": parent["checkpoint_id"] if parent else None,
    }


def _error(error: Any) -> str | None:
    """Returns a task's error as text; what comes from a checkpoint is the repr already."""
    return error if error is None or isinstance(error, str) else repr(error)


def _interrupt(interrupt: Any) -> dict[str, Any]:
    return {"id": interrupt.id, "value": interrupt.value}


def _place(config: Any, thread_id: str) -> dict[str, Any] | None:
    """Returns which checkpoint a config names, None if it names none."""
    configurable = (config or {}).get("configurable", {})
    checkpoint_id = configurable.get("checkpoint_id")
    if checkpoint_id is None:
        return None
    return {
        "checkpoint_id": checkpoint_id,
        "thread_id": thread_id,
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }


def _task_place(state: Any, thread_id: str) -> dict[str, Any] | None:
    """Returns where a subgraph's state lies: a task's state is a snapshot, or only its config."""
    if state is None:
        return None
    if isinstance(state, StateSnapshot):
        return _place(state.config, thread_id)
    configurable = state.get("configurable", {})
    return {
        "thread_id": configurable.get("thread_id", thread_id),
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }
