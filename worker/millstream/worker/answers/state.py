"""A thread's state and its history, as LangGraph has them and as the API shows them."""

from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from millstream.shared.errors import TooLargeError
from millstream.shared.wire import Call
from millstream.worker.answers.context import AnswerContext
from millstream.worker.encode import encode, show_interrupt
from millstream.worker.graphs import Graph

MOST_BYTES: Final = 64 * 1024 * 1024  # of an answer, which goes through Redis
PAGE: Final = 20  # states that are held at once while a history is read


async def get(context: AnswerContext, call: Call) -> bytes:
    """`state`: a thread's state. Arguments: thread_id, checkpoint, subgraphs, select.

    A checkpoint that is not there has an empty state, as the reference has it.

    Raises TooLargeError, GraphError.
    """
    args = call.arguments
    config = config_of(call, args["checkpoint"])
    async with context.graph_of_thread(call, "threads.read", config) as graph:
        snapshot = await graph.aget_state(config, subgraphs=bool(args["subgraphs"]))
        body = encode(_selected(show_state(snapshot, args["thread_id"]), args["select"]))
    if len(body) > MOST_BYTES:
        raise TooLargeError(
            f"select: the state takes {len(body)} bytes, and an answer may take {MOST_BYTES}; "
            "ask for some of its fields"
        )
    return body


async def history(context: AnswerContext, call: Call) -> bytes:
    """`history`: states of a thread, newest first. Arguments: thread_id, checkpoint, limit,
    before (a checkpoint's id or None), metadata (what a checkpoint's must have), select.

    As many as fit into the settings' `max_history`, the newest in any case: a client goes on
    before the last one that it has. Source: langgraph-api 0.17.

    Raises TooLargeError if the newest alone is more than `MOST_BYTES`, GraphError.
    """
    args = call.arguments
    config = config_of(call, args["checkpoint"])
    states: list[bytes] = []
    size = 2
    budget = min(context.settings.max_history or MOST_BYTES, MOST_BYTES)
    async with context.graph_of_thread(call, "threads.read", config) as graph:
        before = args["before"]
        while len(states) < args["limit"]:
            limit = min(PAGE, args["limit"] - len(states))
            page = await _page(graph, config, before, limit, args["metadata"])
            for snapshot in page:
                state = show_state(snapshot, args["thread_id"])
                before = state["checkpoint_id"]
                body = encode(_selected(state, args["select"]))
                size += 1 + len(body)
                if states and size > budget:
                    return _json_list(states)
                states.append(body)
            if len(page) < limit:
                break
    if size > MOST_BYTES:
        raise TooLargeError(
            f"select: the newest state takes {size} bytes, and an answer may take {MOST_BYTES}; "
            "ask for some of its fields"
        )
    return _json_list(states)


def _json_list(items: list[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


async def _page(
    graph: Graph, config: RunnableConfig, before: str | None, limit: int, metadata: dict[str, Any]
) -> list[StateSnapshot]:
    last: RunnableConfig | None = {"configurable": {"checkpoint_id": before}} if before else None
    states = graph.aget_state_history(config, filter=metadata or None, before=last, limit=limit)
    return [snapshot async for snapshot in states]


def config_of(call: Call, place: dict[str, Any]) -> RunnableConfig:
    """Returns LangGraph's name for a place on the call's thread (checkpoint_ns, checkpoint_id,
    checkpoint_map)."""
    return {
        "configurable": {
            "checkpoint_ns": "",
            **place,
            "thread_id": call.arguments["thread_id"],
            "graph_id": call.graph_id,
        },
    }


def _selected(state: dict[str, Any], select: list[str]) -> dict[str, Any]:
    """Returns the named fields; `values.<key>` is one key of the values. All, if none is named."""
    if not select:
        return state
    chosen = {name: state[name] for name in select if name in state}
    keys = [name.removeprefix("values.") for name in select if name not in state]
    if keys and "values" not in chosen:
        values = state["values"]
        chosen["values"] = (
            {key: values[key] for key in keys if key in values} if isinstance(values, dict) else {}
        )
    return chosen


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
                "interrupts": [show_interrupt(i) for i in task.interrupts],
                "checkpoint": _task_place(task.state, thread_id),
                "state": show_state(task.state, thread_id)
                if isinstance(task.state, StateSnapshot)
                else None,
                "result": task.result,
            }
            for task in snapshot.tasks
        ],
        "metadata": {**snapshot.metadata, "thread_id": thread_id} if snapshot.metadata else None,
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [show_interrupt(i) for i in snapshot.interrupts],
        "checkpoint_id": checkpoint["checkpoint_id"] if checkpoint else None,
        "parent_checkpoint_id": parent["checkpoint_id"] if parent else None,
    }


def _error(error: Any) -> str | None:
    """Returns a task's error as text; what comes from a checkpoint is the repr already."""
    return error if error is None or isinstance(error, str) else repr(error)


def _place(config: Any, thread_id: str) -> dict[str, Any] | None:
    """Returns which checkpoint a config names, None if it names none."""
    configurable = (config or {}).get("configurable", {})
    checkpoint_id = configurable.get("checkpoint_id")
    if checkpoint_id is None:
        return None
    place = {
        "checkpoint_id": checkpoint_id,
        "thread_id": thread_id,
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }
    if "checkpoint_map" in configurable:  # of a subgraph: which checkpoints of its parents it is of
        place["checkpoint_map"] = configurable["checkpoint_map"]
    return place


def _task_place(state: Any, thread_id: str) -> dict[str, Any] | None:
    """Returns the checkpoint of a subgraph's state, if the state itself is not included."""
    if state is None or isinstance(state, StateSnapshot):
        return None
    configurable = state.get("configurable", {})
    return {
        "thread_id": configurable.get("thread_id", thread_id),
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }
