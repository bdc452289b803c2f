"""The routes of a thread's state and its history."""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import forward_json, json_response, path_uuid, query_model, read_model
from millstream.api.http.context import context_of
from millstream.api.http.json_views import show_empty_state
from millstream.api.threads import state_operations
from millstream.api.threads.state_schemas import (
    CheckpointSelector,
    HistoryQuery,
    HistoryRequest,
    StateAtCheckpoint,
    StateQuery,
    StateUpdate,
)


async def get(request: Request) -> Response:
    """`GET /threads/{thread_id}/state…`: Returns the newest state, or the state at a checkpoint."""
    checkpoint = CheckpointSelector()
    if "checkpoint_id" in request.path_params:
        checkpoint.checkpoint_id = path_uuid(request, "checkpoint_id", "checkpoint")
    query = query_model(request, StateQuery)
    return await _state(request, checkpoint, subgraphs=query.subgraphs, select=query.select)


async def at_checkpoint(request: Request) -> Response:
    """`POST /threads/{thread_id}/state/checkpoint`: Returns the state at a checkpoint, also of a subgraph."""
    body = await read_model(request, StateAtCheckpoint)
    return await _state(request, body.checkpoint, subgraphs=body.subgraphs, select=body.select)


async def _state(
    request: Request, checkpoint: CheckpointSelector, *, subgraphs: bool, select: list[str]
) -> Response:
    thread_id = path_uuid(request, "thread_id", "thread")
    state = await state_operations.state(
        context_of(request), thread_id, checkpoint, subgraphs=subgraphs, select=select
    )
    if state is None:
        return json_response(show_empty_state(thread_id, checkpoint.checkpoint_id, select))
    return forward_json(state)


async def history_page(request: Request) -> Response:
    """`GET /threads/{thread_id}/history`: Returns the states of the thread, newest first."""
    query = query_model(request, HistoryQuery)
    return await _history(request, HistoryRequest(**query.model_dump()))


async def history(request: Request) -> Response:
    """`POST /threads/{thread_id}/history`: Returns the states of the thread or of a subgraph, newest first."""
    return await _history(request, await read_model(request, HistoryRequest, empty=True))


async def _history(request: Request, query: HistoryRequest) -> Response:
    thread_id = path_uuid(request, "thread_id", "thread")
    return forward_json(
        await state_operations.history(context_of(request), thread_id, query) or b"[]"
    )


async def update(request: Request) -> Response:
    """`POST /threads/{thread_id}/state`: Updates the state, after the newest checkpoint or after another one.

    409 while a run is active on the thread.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    body = await read_model(request, StateUpdate)
    return forward_json(await state_operations.update(context_of(request), thread_id, body))
