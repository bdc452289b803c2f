"""Threads: create, read, and their state, which a worker is asked for."""

import asyncio
import time

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.body import answer, path_uuid, query_model, read_model, settings_of
from millstream.api.runs import end_run
from millstream.api.schemas.thread import StateQuery, ThreadCreate
from millstream.api.shown import EMPTY_STATE, show_thread
from millstream.shared import calls, keys, runs, scripts, threads
from millstream.shared.errors import NotFoundError, UnavailableError
from millstream.shared.multitask import CancelAction

DELETION = 10.0  # s beyond a lease that the end of a thread's runs may take
PAUSE = 0.1  # s between looks


async def create(request: Request) -> Response:
    """`POST /threads`"""
    body = await read_model(request, ThreadCreate, empty=True)
    record = await threads.create_thread(
        request.app.state.redis, body.thread_id, body.metadata, if_exists=body.if_exists
    )
    return answer(show_thread(record))


async def get(request: Request) -> Response:
    """`GET /threads/{thread_id}`"""
    thread_id = path_uuid(request, "thread_id", "thread")
    return answer(show_thread(await threads.get_thread(request.app.state.redis, thread_id)))


async def delete(request: Request) -> Response:
    """`DELETE /threads/{thread_id}`: its runs are cancelled first; then all that belongs to it goes."""
    thread_id = path_uuid(request, "thread_id", "thread")
    redis = request.app.state.redis
    retired = False
    deadline = time.monotonic() + settings_of(request).lease + DELETION
    while True:
        try:
            run_ids = await threads.retire_thread(redis, thread_id)
        except NotFoundError:
            if retired:  # the reaper has gone on with what we began
                return Response(status_code=204)
            raise
        retired = True
        for run_id in reversed(run_ids):  # those that wait go first, so that they never begin
            await runs.cancel(
                redis, thread_id, run_id,
                action=CancelAction.INTERRUPT, stream_ttl=settings_of(request).stream_ttl,
            )  # fmt: skip
        for run_id in run_ids:
            await end_run(request, thread_id, run_id)
        if await threads.delete_thread(redis, thread_id):
            return Response(status_code=204)
        # A run was admitted meanwhile, or the thread waits for one that is gone.
        await scripts.repair_thread(redis, thread_id)
        if time.monotonic() > deadline:
            raise UnavailableError("The thread's runs do not end; it is deleted once they have.")
        await asyncio.sleep(PAUSE)


async def state(request: Request) -> Response:
    """`GET /threads/{thread_id}/state`: answered by a worker; 503 if none serves the graph."""
    thread_id = path_uuid(request, "thread_id", "thread")
    query = query_model(request, StateQuery)
    record = await threads.get_thread(request.app.state.redis, thread_id)
    if record.graph_id is None:
        return answer(EMPTY_STATE)
    graph = await request.app.state.graphs.resolve(record.graph_id)
    body = await calls.ask(
        request.app.state.redis,
        request.app.state.blocking,
        lane=keys.lane(graph.graph_id),
        graph_id=graph.graph_id,
        verb="state",
        arguments={"thread_id": thread_id, "subgraphs": query.subgraphs},
        within=settings_of(request).call_timeout,
    )
    return Response(body, media_type="application/json")
