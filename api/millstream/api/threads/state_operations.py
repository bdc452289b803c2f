"""The use cases of a thread's states. Only a worker knows the graph, so a worker responds, in JSON."""

from collections.abc import Mapping
from typing import Any

from millstream.api import worker_calls
from millstream.api.assistants.permits import permit_assistant
from millstream.api.context import RequestContext
from millstream.api.threads.state_schemas import CheckpointSelector, HistoryRequest, StateUpdate
from millstream.api.uuids import canonical_uuid
from millstream.shared import threads
from millstream.shared.errors import (
    AccessError,
    ConflictError,
    InvalidError,
    NotFoundError,
    RefusedError,
)


async def state(
    context: RequestContext,
    thread_id: str,
    checkpoint: CheckpointSelector,
    *,
    subgraphs: bool,
    select: list[str],
) -> bytes | None:
    """Returns the newest state, or the state at a checkpoint; None for a thread without a graph.

    Raises:
        NotFoundError: there is no such thread.
        MillstreamError: what `worker_calls.call_graph` raises.
    """
    arguments: dict[str, Any] = {
        "thread_id": thread_id,
        "checkpoint": _configurable(thread_id, checkpoint),
        "subgraphs": subgraphs,
        "select": select,
    }
    return await _call(context, thread_id, "state", arguments)


async def history(context: RequestContext, thread_id: str, query: HistoryRequest) -> bytes | None:
    """Returns states, the newest first; None for a thread without a graph. Raises what `state` raises."""
    arguments = {
        "thread_id": thread_id,
        "checkpoint": _configurable(thread_id, query.checkpoint),
        "limit": query.limit,
        "before": query.before,
        "metadata": query.metadata,
        "select": query.select,
    }
    return await _call(context, thread_id, "history", arguments)


async def _call(
    context: RequestContext, thread_id: str, verb: str, arguments: dict[str, Any]
) -> bytes | None:
    permit = await context.authorize_thread("threads.read", thread_id)
    record = await threads.get_thread(permit.redis, thread_id)
    if record.graph_id is None:
        return None
    arguments |= assistant_of(record.metadata)
    return await worker_calls.call_graph(context, permit, record.graph_id, verb, arguments)


async def update(context: RequestContext, thread_id: str, body: StateUpdate) -> bytes:
    """Writes a state after the newest checkpoint, or after another one. Returns its `StateUpdated`.

    Raises:
        NotFoundError: there is no such thread.
        ConflictError: a run is active on it.
        RefusedError: it has no graph yet.
        MillstreamError: what `worker_calls.call_graph` raises.
    """
    checkpoint = _configurable(thread_id, body.checkpoint)
    permit = await context.authorize_thread("threads.update", thread_id)
    record = await threads.get_thread(permit.redis, thread_id)
    if record.active:
        raise ConflictError(threads.busy_message(thread_id))
    graph_id = record.graph_id or record.metadata.get("graph_id")
    if not isinstance(graph_id, str):
        raise RefusedError(
            f"Thread {thread_id} has no graph yet: start a run on it first, or create it with the "
            "name of a graph as metadata.graph_id"
        )
    arguments = {
        "thread_id": thread_id,
        "checkpoint": checkpoint,
        "values": body.values,
        "as_node": body.as_node,
        "guard": permit.guard,
        # A run's assistant is on the thread; before the first run, the client has named it.
        **(
            assistant_of(record.metadata)
            if record.graph_id is not None
            else await permitted_assistant_of(context, record.metadata)
        ),
    }
    return await worker_calls.call_graph(context, permit, graph_id, "update", arguments)


def assistant_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Returns the argument `assistant_id`, if the thread's metadata names an assistant."""
    assistant_id = canonical_uuid(str(metadata.get("assistant_id", "")))
    return {} if assistant_id is None else {"assistant_id": assistant_id}


async def permitted_assistant_of(
    context: RequestContext, metadata: Mapping[str, Any]
) -> dict[str, str]:
    """Returns the argument `assistant_id`, if a client's metadata names an assistant that it may use.

    Its config reaches the graph's factory.
    """
    argument = assistant_of(metadata)
    if not argument:
        return {}
    try:
        await permit_assistant(context, argument["assistant_id"])
    except (AccessError, InvalidError, NotFoundError):
        return {}
    return argument


def _configurable(thread_id: str, checkpoint: CheckpointSelector) -> dict[str, Any]:
    """Returns the checkpoint's entries of LangGraph's `configurable`.

    Raises InvalidError for a checkpoint of another thread.
    """
    if checkpoint.thread_id not in (None, thread_id):
        raise InvalidError(
            f"checkpoint.thread_id: {checkpoint.thread_id} is not the thread of the request, {thread_id}"
        )
    return checkpoint.model_dump(exclude={"thread_id"}, exclude_none=True)
