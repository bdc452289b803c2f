"""A thread's state and its history: questions to a worker, for only it knows the graph."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from millstream.api.http.body import (
    answer,
    canonical_uuid,
    path_uuid,
    query_model,
    read_model,
    settings_of,
)
from millstream.api.http.json_views import show_empty_state
from millstream.api.threads.state_schemas import (
    CheckpointPlace,
    HistoryQuery,
    HistoryRequest,
    StateAtCheckpoint,
    StateQuery,
    StateUpdate,
)
from millstream.shared import calls, keys, threads
from millstream.shared.assistants import default_assistant_id
from millstream.shared.errors import ConflictError, InvalidError, RefusedError, UnavailableError
from millstream.shared.wire import TOO_DEEP

# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(request: Request) -> Response:
    """`GET /threads/{thread_id}/state…`: the newest state, or that at a checkpoint."""
    place = CheckpointPlace()
    if "checkpoint_id" in request.path_params:
        place.checkpoint_id = path_uuid(request, "checkpoint_id", "checkpoint")
    query = query_model(request, StateQuery)
    return await _state(request, place, subgraphs=query.subgraphs, select=query.select)


async def at_checkpoint(request: Request) -> Response:
    """`POST /threads/{thread_id}/state/checkpoint`: the state at a checkpoint, also of a subgraph."""
    body = await read_model(request, StateAtCheckpoint)
    return await _state(request, body.checkpoint, subgraphs=body.subgraphs, select=body.select)


async def _state(
    request: Request, place: CheckpointPlace, *, subgraphs: bool, select: list[str]
) -> Response:
    thread_id = path_uuid(request, "thread_id", "thread")
    arguments: dict[str, Any] = {
        "thread_id": thread_id,
        "checkpoint": place_on(thread_id, place),
        "subgraphs": subgraphs,
        "select": select,
    }
    record = await threads.get_thread(request.app.state.redis, thread_id)
    if record.graph_id is None:
        return answer(show_empty_state(thread_id, place.checkpoint_id, select))
    arguments |= assistant_of(record.metadata)
    return forwarded(await ask(request, record.graph_id, "state", arguments))


async def history_page(request: Request) -> Response:
    """`GET /threads/{thread_id}/history`: states, newest first."""
    query = query_model(request, HistoryQuery)
    return await _history(request, HistoryRequest(**query.model_dump()))


async def history(request: Request) -> Response:
    """`POST /threads/{thread_id}/history`: states, newest first; also those of a subgraph."""
    return await _history(request, await read_model(request, HistoryRequest, empty=True))


async def _history(request: Request, body: HistoryRequest) -> Response:
    thread_id = path_uuid(request, "thread_id", "thread")
    arguments = {
        "thread_id": thread_id,
        "checkpoint": place_on(thread_id, body.checkpoint),
        "limit": body.limit,
        "before": body.before,
        "metadata": body.metadata,
        "select": body.select,
    }
    record = await threads.get_thread(request.app.state.redis, thread_id)
    if record.graph_id is None:
        return answer([])
    arguments |= assistant_of(record.metadata)
    return forwarded(await ask(request, record.graph_id, "history", arguments))


# ── Write ───────────────────────────────────────────────────────────────────────────────────


async def update(request: Request) -> Response:
    """`POST /threads/{thread_id}/state`: writes a state, behind the newest or behind a checkpoint.

    409 while a run is active on the thread.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    body = await read_model(request, StateUpdate)
    place = place_on(thread_id, body.checkpoint)
    record = await threads.get_thread(request.app.state.redis, thread_id)
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
        "checkpoint": place,
        "values": body.values,
        "as_node": body.as_node,
        **assistant_of(record.metadata),
    }
    return forwarded(await ask(request, graph_id, "update", arguments))


# ── Asking a worker ─────────────────────────────────────────────────────────────────────────


async def ask(
    request: HTTPConnection, graph_id: str, verb: str, arguments: Mapping[str, Any]
) -> bytes:
    """Returns a worker's answer about a graph; raises what `calls.call_worker` raises.

    The assistant is the graph's default one if the arguments name none.

    A graph that no worker has ever announced is one that none serves: UnavailableError.
    """
    try:
        graph = await request.app.state.graphs.graph(graph_id)
    except InvalidError:
        raise UnavailableError(
            f"No worker is running that serves graph {graph_id!r}.", retry_after=5
        ) from None
    try:
        return await calls.call_worker(
            request.app.state.redis,
            request.app.state.blocking,
            queue=keys.call_queue(graph.graph_id),
            graph_id=graph.graph_id,
            verb=verb,
            arguments={"assistant_id": default_assistant_id(graph.graph_id), **arguments},
            within=settings_of(request).call_timeout,
        )
    except RecursionError:  # what was just read may be too deep to write
        raise InvalidError(TOO_DEEP) from None


def assistant_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Returns the argument that names a thread's assistant, if its metadata does."""
    assistant_id = canonical_uuid(str(metadata.get("assistant_id", "")))
    return {} if assistant_id is None else {"assistant_id": assistant_id}


def forwarded(body: bytes) -> Response:
    """Returns a worker's JSON as it is."""
    return Response(body, media_type="application/json")


def place_on(thread_id: str, place: CheckpointPlace) -> dict[str, Any]:
    """Returns what names the checkpoint in LangGraph's `configurable`.

    Raises InvalidError for a checkpoint of another thread.
    """
    if place.thread_id not in (None, thread_id):
        raise InvalidError(
            f"checkpoint.thread_id: {place.thread_id} is not the thread of the request, {thread_id}"
        )
    return place.model_dump(exclude={"thread_id"}, exclude_none=True)
