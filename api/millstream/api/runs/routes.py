"""Runs: create, stream, wait, read, join, cancel, delete."""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import json_response, path_uuid, query_model, read_list, read_model
from millstream.api.http.context import context_of
from millstream.api.http.resume import RunLocation, last_event
from millstream.api.http.sse import FinalOutput
from millstream.api.runs import admission, end_operations, operations
from millstream.api.runs.http import event_stream, final_output, run_ids
from millstream.api.runs.schemas import (
    RunBatch,
    RunCancel,
    RunCreate,
    RunCreateStateful,
    RunCreateStateless,
    RunJoin,
    RunJoinStream,
    RunList,
    RunsCancel,
    RunsCancelQuery,
)
from millstream.shared.events.entries import START, Entry
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.runs.json_view import run_to_json

# ── Create ──────────────────────────────────────────────────────────────────────────────────


async def create(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs`: Creates a background run; with `stream`, streams its events."""
    thread_id = path_uuid(request, "thread_id", "thread")
    body = await read_model(request, RunCreateStateful)
    return await (_stream if body.stream else _create)(request, body, thread_id)


async def stream(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs/stream`: Creates a run and streams its events."""
    thread_id = path_uuid(request, "thread_id", "thread", malformed=400)
    return await _stream(request, await read_model(request, RunCreateStateful), thread_id)


async def wait(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs/wait`: Creates a run, waits for its end, and returns its final state."""
    thread_id = path_uuid(request, "thread_id", "thread", malformed=400)
    return await _wait(request, await read_model(request, RunCreateStateful), thread_id)


async def create_stateless(request: Request) -> Response:
    """`POST /runs`: Creates a background run on a new thread; with `stream`, streams its events."""
    body = await read_model(request, RunCreateStateless)
    return await (_stream if body.stream else _create)(request, body, None)


async def stream_stateless(request: Request) -> Response:
    """`POST /runs/stream`: Creates a run on a new thread and streams its events."""
    return await _stream(request, await read_model(request, RunCreateStateless), None)


async def wait_stateless(request: Request) -> Response:
    """`POST /runs/wait`: Creates a run on a new thread, waits for its end, and returns its final state."""
    return await _wait(request, await read_model(request, RunCreateStateless), None)


async def create_batch(request: Request) -> Response:
    """`POST /runs/batch`: Creates background runs, each on a new thread: all of them, or none."""
    batch = await read_list(request, RunBatch, RunCreateStateless)
    records = await admission.admit_batch(
        context_of(request), [body.request() for body in batch.root]
    )
    return json_response([run_to_json(record) for record in records])


async def _create(request: Request, body: RunCreate, thread_id: str | None) -> Response:
    record = await admission.admit(context_of(request), body.request(), thread_id)
    location = RunLocation(record.spec.run_id, thread_id)
    return json_response(run_to_json(record), headers=location.headers())


async def _stream(request: Request, body: RunCreate, thread_id: str | None) -> Response:
    context = context_of(request)
    followed = await admission.admit_and_follow(context, body.request(), thread_id)
    return event_stream(context, followed, thread_id, cancels=body.on_disconnect == "cancel")


async def _wait(request: Request, body: RunCreate, thread_id: str | None) -> Response:
    context = context_of(request)
    followed = await admission.admit_and_follow(context, body.request(), thread_id)
    return final_output(context, followed, "join", cancels=body.on_disconnect == "cancel")


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def list_runs(request: Request) -> Response:
    """`GET /threads/{thread_id}/runs`: Returns a page of the thread's runs, newest first."""
    thread_id = path_uuid(request, "thread_id", "thread")
    query = query_model(request, RunList)
    context = context_of(request)
    records = await operations.list_runs(
        context, thread_id, limit=query.limit, offset=query.offset, status=query.status
    )
    return json_response([run_to_json(record, list(query.select)) for record in records])


async def get(request: Request) -> Response:
    """`GET …/runs/{run_id}`: Returns the run."""
    return json_response(
        run_to_json(await operations.get(context_of(request), *run_ids(request.path_params)))
    )


async def explain(request: Request) -> Response:
    """`GET …/runs/{run_id}/explain`: Returns why the run does not move, what to do, and its attempts."""
    explanation = await operations.explain(context_of(request), *run_ids(request.path_params))
    return json_response(explanation, headers={"cache-control": "no-store"})


async def join(request: Request) -> Response:
    """`GET …/runs/{run_id}/join`: Waits for the run's end and returns its final state."""
    context, ids = context_of(request), run_ids(request.path_params)
    query = query_model(request, RunJoin)
    followed = await operations.join(context, *ids, START, cancels=query.cancel_on_disconnect)
    return final_output(context, followed, "join", cancels=query.cancel_on_disconnect)


async def join_stream(request: Request) -> Response:
    """`GET …/runs/{run_id}/stream`: Streams the run's events after `Last-Event-ID` until its end.

    Without the header, the stream starts with the next event; of an ended run, it has all stored events.
    """
    context, (thread_id, run_id) = context_of(request), run_ids(request.path_params)
    query = query_model(request, RunJoinStream)
    after = last_event(request.headers.get("last-event-id", ""), query.last_event_id)
    followed = await operations.join(
        context, thread_id, run_id, after, cancels=query.cancel_on_disconnect
    )
    return event_stream(
        context,
        followed,
        thread_id if "thread_id" in request.path_params else None,
        modes=query.stream_mode,
        cancels=query.cancel_on_disconnect,
    )


# ── End ─────────────────────────────────────────────────────────────────────────────────────


async def cancel(request: Request) -> Response:
    """`POST …/runs/{run_id}/cancel`: Cancels the run; with `wait`, waits for its end.

    202 at once, or with `wait` 200 after the end.
    """
    context, (thread_id, run_id) = context_of(request), run_ids(request.path_params)
    query = query_model(request, RunCancel)
    if not query.wait:
        await end_operations.cancel(context, thread_id, run_id, query.action)
        return Response(status_code=202)
    reader, watch = await end_operations.cancel_and_follow(context, thread_id, run_id, query.action)
    return FinalOutput(
        reader,
        watch,
        _empty,
        headers=RunLocation(run_id, thread_id).headers("join"),
        keepalive=context.settings.keepalive,
    )


async def _empty(_: Entry) -> bytes:
    return b"{}"


async def delete(request: Request) -> Response:
    """`DELETE …/runs/{run_id}`: Deletes the run, after a cancel if it has not ended."""
    await end_operations.delete(context_of(request), *run_ids(request.path_params))
    return Response(status_code=204)


async def cancel_many(request: Request) -> Response:
    """`POST /runs/cancel`: Cancels runs by their status, or by their ids on one thread."""
    context = context_of(request)
    query = query_model(request, RunsCancelQuery)
    body = await read_model(request, RunsCancel)
    if body.thread_id is not None:
        run_ids = body.run_ids or ()
        await end_operations.cancel_runs(context, body.thread_id, run_ids, query.action)
    else:
        status = None if body.status in (None, "all") else RunStatus(body.status)
        await end_operations.cancel_live(context, status, query.action)
    return Response(status_code=204)
