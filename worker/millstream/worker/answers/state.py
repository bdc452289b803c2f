"""Reads a thread's state and its history from LangGraph and returns them in the API's form."""

from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from millstream.shared.access import unpack_user
from millstream.shared.errors import TooLargeError
from millstream.shared.wire import Call
from millstream.worker import private_entries
from millstream.worker.answers.context import AnswerContext
from millstream.worker.client_errors import show_text
from millstream.worker.encode import encode, show_interrupt
from millstream.worker.graphs import Graph

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024  # a reply passes through Redis
PAGE: Final = 20  # states in memory at once while a history is read


async def get(context: AnswerContext, call: Call) -> bytes:
    """`state`: returns a thread's state. Arguments: thread_id, checkpoint, subgraphs, select.

    A checkpoint that does not exist has an empty state. Source: the reference server.

    Raises TooLargeError, GraphError.
    """
    args = call.arguments
    config = config_of(call, args["checkpoint"])
    async with context.graph_of_thread(call, "threads.read", config) as graph:
        snapshot = await graph.aget_state(config, subgraphs=bool(args["subgraphs"]))
        body = encode(_select(show_state(snapshot, args["thread_id"]), args["select"]))
    if len(body) > MAX_REPLY_BYTES:
        raise TooLargeError(
            f"select: the state has {len(body)} bytes, and a response may have {MAX_REPLY_BYTES}; "
            "select some of its fields"
        )
    return body


async def get_history(context: AnswerContext, call: Call) -> bytes:
    """`history`: returns states of a thread, newest first.

    Arguments: thread_id, checkpoint, limit, before (a checkpoint's id or None), metadata (a filter), select.

    The reply has as many states as fit into `max_history` bytes, and always the newest. A client continues
    with `before`, the last checkpoint that it received. Source: langgraph-api 0.17.

    Raises GraphError, or TooLargeError if the newest state alone has more than `MAX_REPLY_BYTES`.
    """
    args = call.arguments
    config = config_of(call, args["checkpoint"])
    states: list[bytes] = []
    size = 2  # of the brackets
    max_size = min(context.settings.max_history or MAX_REPLY_BYTES, MAX_REPLY_BYTES)
    async with context.graph_of_thread(call, "threads.read", config) as graph:
        before = args["before"]
        while len(states) < args["limit"]:
            limit = min(PAGE, args["limit"] - len(states))
            page = await _read_page(graph, config, before, limit, args["metadata"])
            for snapshot in page:
                state = show_state(snapshot, args["thread_id"])
                before = state["checkpoint_id"]
                body = encode(_select(state, args["select"]))
                size += 1 + len(body)
                if states and size > max_size:
                    return _json_list(states)
                states.append(body)
            if len(page) < limit:
                break
    if size > MAX_REPLY_BYTES:
        raise TooLargeError(
            f"select: the newest state has {size} bytes, and a response may have {MAX_REPLY_BYTES}; "
            "select some of its fields"
        )
    return _json_list(states)


def _json_list(items: list[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


async def _read_page(
    graph: Graph, config: RunnableConfig, before: str | None, limit: int, metadata: dict[str, Any]
) -> list[StateSnapshot]:
    last: RunnableConfig | None = {"configurable": {"checkpoint_id": before}} if before else None
    states = graph.aget_state_history(config, filter=metadata or None, before=last, limit=limit)
    return [snapshot async for snapshot in states]


def config_of(call: Call, checkpoint: dict[str, Any]) -> RunnableConfig:
    """Returns the config that names a checkpoint of the call's thread, with the user of the call.

    `checkpoint` has checkpoint_ns, checkpoint_id and checkpoint_map, each of them optional.
    """
    configurable = {
        "checkpoint_ns": "",
        **checkpoint,
        "thread_id": call.arguments["thread_id"],
        "graph_id": call.graph_id,
    }
    return {"configurable": private_entries.add(configurable, unpack_user(call.user))}


def _select(state: dict[str, Any], select: list[str]) -> dict[str, Any]:
    """Returns the fields in `select`, or all if it is empty; `values.<key>` is one key of the values."""
    if not select:
        return state
    selected = {name: state[name] for name in select if name in state}
    keys = [name.removeprefix("values.") for name in select if name not in state]
    if keys and "values" not in selected:
        values = state["values"]
        selected["values"] = (
            {key: values[key] for key in keys if key in values} if isinstance(values, dict) else {}
        )
    return selected


def show_state(snapshot: StateSnapshot, thread_id: str) -> dict[str, Any]:
    """Returns a `ThreadState` in the API's form. Source: the reference server's responses."""
    checkpoint = _checkpoint_of(snapshot.config, thread_id)
    parent = _checkpoint_of(snapshot.parent_config, thread_id)
    run_id = (snapshot.metadata or {}).get("run_id")
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "tasks": [
            {
                "id": task.id,
                "name": task.name,
                "path": task.path,
                "error": _error_text(task.error, run_id),
                "interrupts": [show_interrupt(i) for i in task.interrupts],
                "checkpoint": _subgraph_checkpoint(task.state, thread_id),
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


def _error_text(error: Any, run_id: str | None) -> str | None:
    """Returns a task's error as text. In a checkpoint the error is its repr already."""
    text = error if error is None or isinstance(error, str) else repr(error)
    return show_text(text, run_id)


def _checkpoint_of(config: Any, thread_id: str) -> dict[str, Any] | None:
    """Returns the checkpoint that a config names, or None."""
    configurable = (config or {}).get("configurable", {})
    checkpoint_id = configurable.get("checkpoint_id")
    if checkpoint_id is None:
        return None
    checkpoint = {
        "checkpoint_id": checkpoint_id,
        "thread_id": thread_id,
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }
    if "checkpoint_map" in configurable:  # of a subgraph: its parents' checkpoints by namespace
        checkpoint["checkpoint_map"] = configurable["checkpoint_map"]
    return checkpoint


def _subgraph_checkpoint(state: Any, thread_id: str) -> dict[str, Any] | None:
    """Returns the checkpoint of a task's subgraph, or None if the snapshot includes the subgraph's state."""
    if state is None or isinstance(state, StateSnapshot):
        return None
    configurable = state.get("configurable", {})
    return {
        "thread_id": configurable.get("thread_id", thread_id),
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }
