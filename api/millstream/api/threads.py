"""Threads: create, read, delete."""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.body import answer, path_uuid, read_model, settings_of
from millstream.api.runs import end_run
from millstream.api.schemas.thread import ThreadCreate
from millstream.api.shown import show_thread
from millstream.shared import runs, threads
from millstream.shared.multitask import CancelAction


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
    while True:
        run_ids = await threads.retire_thread(redis, thread_id)
        for run_id in reversed(run_ids):  # those that wait go first, so that they never begin
            await runs.cancel(
                redis, thread_id, run_id,
                action=CancelAction.INTERRUPT, stream_ttl=settings_of(request).stream_ttl,
            )  # fmt: skip
        for run_id in run_ids:
            await end_run(request, thread_id, run_id)
        if await threads.delete_thread(redis, thread_id):
            return Response(status_code=204)
