"""Runs: create, stream, wait, read, join, cancel, delete."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from millstream.api.http.body import (
    answer,
    path_uuid,
    query_model,
    read_list,
    read_model,
    settings_of,
)
from millstream.api.http.resume import last_event, resume_location
from millstream.api.http.sse import EventStream, FinalOutput
from millstream.api.runs.run_request import run_request
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
from millstream.shared import runs, threads
from millstream.shared.assistants import GraphDirectory
from millstream.shared.errors import InvalidError, MillstreamError, NotFoundError, UnavailableError
from millstream.shared.events.entries import START, Entry, Position
from millstream.shared.events.hub import Reader, StreamHub
from millstream.shared.langgraph_json.http import HttpSettings
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL
from millstream.shared.rules.multitask import CancelAction, CancelReason
from millstream.shared.runs import RunRecord, Submission
from millstream.shared.runs.json_view import run_to_json
from millstream.shared.runs.submission import submission
from millstream.shared.wire import RunRequest

Output = Callable[[Entry], Awaitable[bytes]]  # of an end, what is answered


def _redis(request: Request) -> Client:
    redis: Client = request.app.state.redis
    return redis


def _hub(request: Request) -> StreamHub:
    hub: StreamHub = request.app.state.hub
    return hub


# ── Create ──────────────────────────────────────────────────────────────────────────────────


async def create(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs`: a run in the background; with `stream`, its events."""
    thread_id = path_uuid(request, "thread_id", "thread")
    body = await read_model(request, RunCreateStateful)
    return await (_stream if body.stream else _create)(request, body, thread_id)


async def stream(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs/stream`: a run and its events."""
    thread_id = path_uuid(request, "thread_id", "thread", malformed=400)
    return await _stream(request, await read_model(request, RunCreateStateful), thread_id)


async def wait(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs/wait`: a run and its final state."""
    thread_id = path_uuid(request, "thread_id", "thread", malformed=400)
    return await _wait(request, await read_model(request, RunCreateStateful), thread_id)


async def create_stateless(request: Request) -> Response:
    """`POST /runs`: a run in the background, on a thread of its own; with `stream`, its events."""
    body = await read_model(request, RunCreateStateless)
    return await (_stream if body.stream else _create)(request, body, None)


async def stream_stateless(request: Request) -> Response:
    """`POST /runs/stream`: a run on a thread of its own, and its events."""
    return await _stream(request, await read_model(request, RunCreateStateless), None)


async def wait_stateless(request: Request) -> Response:
    """`POST /runs/wait`: a run on a thread of its own, and its final state."""
    return await _wait(request, await read_model(request, RunCreateStateless), None)


async def create_batch(request: Request) -> Response:
    """`POST /runs/batch`: background runs, each on a thread of its own; all of them, or none."""
    batch = await read_list(request, RunBatch, RunCreateStateless)
    submissions = []
    for number, body in enumerate(batch.root):
        run_id = str(uuid.uuid4())
        try:
            submissions.append(
                await submission_of(
                    request, run_request(body), run_id, runs.stateless_thread_id(run_id)
                )
            )
        except MillstreamError as error:
            raise type(error)(f"{number}: {error}") from None
    records: list[RunRecord] = []
    try:
        for submitted in submissions:
            record = await submit(request, submitted)
            records.append(record)
    except BaseException:
        for record in records:
            await runs.cancel(
                _redis(request), record.spec.thread_id, record.spec.run_id,
                action=CancelAction.INTERRUPT, stream_ttl=settings_of(request).stream_ttl,
                reason=CancelReason.WITHDRAWN,
            )  # fmt: skip
        raise
    return answer([run_to_json(record) for record in records])


async def _admit(request: Request, body: RunCreate, run_id: str, thread_id: str) -> RunRecord:
    return await submit(request, await submission_of(request, run_request(body), run_id, thread_id))


async def submission_of(
    request: HTTPConnection, asked: RunRequest, run_id: str, thread_id: str
) -> Submission:
    """Returns what is to be admitted, by the assistant and the project as they are now."""
    directory: GraphDirectory = request.app.state.graphs
    resolved = await directory.resolve(asked.assistant_id)
    project = await directory.project()
    http: HttpSettings = request.app.state.http
    refuse_webhook(http, asked.webhook)
    return submission(
        asked,
        resolved,
        project,
        run_id=run_id,
        thread_id=thread_id,
        headers=http.headers_for_runs(request.headers.items()),
    )


def refuse_webhook(http: HttpSettings, url: str | None) -> None:
    """Raises InvalidError for a webhook where langgraph.json has disabled them."""
    if url is not None and http.disable_webhooks:
        raise InvalidError("webhook: webhooks are disabled here (http.disable_webhooks)")


async def submit(request: HTTPConnection, submitted: Submission) -> RunRecord:
    """Admits it, within the limits of the settings; raises what `scripts.admit` raises."""
    settings = settings_of(request)
    return await runs.submit(
        request.app.state.redis,
        submitted,
        stream_ttl=settings.stream_ttl,
        max_live=settings.max_live,
    )


async def _create(request: Request, body: RunCreate, thread_id: str | None) -> Response:
    run_id = str(uuid.uuid4())
    record = await _admit(request, body, run_id, thread_id or runs.stateless_thread_id(run_id))
    return answer(run_to_json(record), headers={"content-location": _place(run_id, thread_id)})


async def _stream(request: Request, body: RunCreate, thread_id: str | None) -> Response:
    run_id = str(uuid.uuid4())
    reader, on_leave = await _admit_followed(request, body, run_id, thread_id)
    place = _place(run_id, thread_id)
    back = resume_location(f"{place}/stream", START, cancel=on_leave is not None)
    return EventStream(
        reader,
        headers={"content-location": place, "location": back},
        keepalive=settings_of(request).keepalive,
        on_leave=on_leave,
    )


async def _wait(request: Request, body: RunCreate, thread_id: str | None) -> Response:
    run_id = str(uuid.uuid4())
    reader, on_leave = await _admit_followed(request, body, run_id, thread_id)
    # The reference names the thread here, of a stateless run too.
    thread = thread_id or runs.stateless_thread_id(run_id)
    place = _place(run_id, thread)
    back = resume_location(f"{place}/join", cancel=on_leave is not None)
    return FinalOutput(
        reader,
        _output(request, thread, run_id),
        headers={"content-location": place, "location": back},
        keepalive=settings_of(request).keepalive,
        on_leave=on_leave,
    )


async def _admit_followed(
    request: Request, body: RunCreate, run_id: str, thread_id: str | None
) -> tuple[Reader, Callable[[], Awaitable[object]] | None]:
    """Admits a run that its creator follows from its first event on."""
    thread = thread_id or runs.stateless_thread_id(run_id)
    reader = await _hub(request).open(thread, run_id, START, fresh=True)
    try:
        await _admit(request, body, run_id, thread)
    except BaseException:
        reader.close()
        raise
    on_leave = _cancel(request, thread, run_id, 0) if body.on_disconnect == "cancel" else None
    return reader, on_leave


def _place(run_id: str, thread_id: str | None) -> str:
    return f"/threads/{thread_id}/runs/{run_id}" if thread_id else f"/runs/{run_id}"


def _cancel(
    request: Request, thread_id: str, run_id: str, number: int
) -> Callable[[], Awaitable[object]]:
    """Returns what to do when the client has left: cancel the run, unless it comes back in time.

    With a grace, a client that follows the run after it counts as the one that came back, also if it came before
    the server noticed that the old connection was dead.
    """
    redis, settings = _redis(request), settings_of(request)

    async def cancel_run() -> None:
        await asyncio.sleep(settings.disconnect_grace)
        await runs.cancel(
            redis,
            thread_id,
            run_id,
            action=CancelAction.INTERRUPT,
            stream_ttl=settings.stream_ttl,
            reason=CancelReason.DISCONNECT,
            joined=number if settings.disconnect_grace else None,
        )

    return cancel_run


def _output(request: Request, thread_id: str, run_id: str) -> Output:
    redis = _redis(request)

    async def final(end: Entry) -> bytes:
        return await runs.final_output(redis, thread_id, run_id, end.output)

    return final


# ── Read ────────────────────────────────────────────────────────────────────────────────────


def _ids(request: Request) -> tuple[str, str]:
    """Returns the thread and the run in the path; a stateless run's thread follows from it."""
    run_id = path_uuid(request, "run_id", "run")
    if "thread_id" in request.path_params:
        return path_uuid(request, "thread_id", "thread"), run_id
    return runs.stateless_thread_id(run_id), run_id


async def list_runs(request: Request) -> Response:
    """`GET /threads/{thread_id}/runs`: newest first."""
    thread_id = path_uuid(request, "thread_id", "thread")
    query = query_model(request, RunList)
    await threads.require_thread(_redis(request), thread_id)
    records = await runs.list_runs(
        _redis(request), thread_id, limit=query.limit, offset=query.offset, status=query.status
    )
    return answer([run_to_json(record, list(query.select)) for record in records])


async def get(request: Request) -> Response:
    """`GET …/runs/{run_id}`"""
    return answer(run_to_json(await runs.get_run(_redis(request), *_ids(request))))


async def join(request: Request) -> Response:
    """`GET …/runs/{run_id}/join`: waits for the end; the final state."""
    return await joined(
        request, "join", lambda record: _output(request, record.spec.thread_id, record.spec.run_id)
    )


async def joined(request: Request, route: str, output: Callable[[RunRecord], Output]) -> Response:
    """Returns the answer of a route under a run's path that waits for the run's end."""
    thread_id, run_id = _ids(request)
    query = query_model(request, RunJoin)
    record = await runs.get_run(_redis(request), thread_id, run_id)
    reader = await _hub(request).open(thread_id, run_id, START)
    _, number = await _begin(request, reader)
    place = _place(run_id, thread_id)
    back = resume_location(f"{place}/{route}", cancel=query.cancel_on_disconnect)
    return FinalOutput(
        reader,
        output(record),
        headers={"content-location": place, "location": back},
        keepalive=settings_of(request).keepalive,
        on_leave=_cancel(request, thread_id, run_id, number)
        if query.cancel_on_disconnect
        else None,
    )


async def join_stream(request: Request) -> Response:
    """`GET …/runs/{run_id}/stream`: the events after `Last-Event-ID`, and those to come.

    Without the header: from now on; of an ended run, all that is kept.
    """
    thread_id, run_id = _ids(request)
    query = query_model(request, RunJoinStream)
    await runs.get_run(_redis(request), thread_id, run_id)
    stateless = "thread_id" not in request.path_params
    place = _place(run_id, None if stateless else thread_id)
    reader = await _hub(request).open(thread_id, run_id, last_event(request, query.last_event_id))
    begins, number = await _begin(request, reader)
    back = resume_location(
        f"{place}/stream", begins, modes=query.stream_mode, cancel=query.cancel_on_disconnect
    )
    return EventStream(
        reader,
        headers={"content-location": place, "location": back},
        keepalive=settings_of(request).keepalive,
        modes=frozenset(query.stream_mode),
        on_leave=_cancel(request, thread_id, run_id, number)
        if query.cancel_on_disconnect
        else None,
    )


async def _begin(request: Request, reader: Reader) -> tuple[Position, int]:
    """Has the reader of one that joined begin; returns where, and the number of the one that joined.

    It is counted once it has its place: one that an outage refuses has not come back.
    """
    try:
        return await reader.begin(), await runs.note_joined(_redis(request), *_ids(request))
    except BaseException:
        reader.close()
        raise


# ── End ─────────────────────────────────────────────────────────────────────────────────────


async def cancel(request: Request) -> Response:
    """`POST …/runs/{run_id}/cancel`: 202 at once, or with `wait` 200 when the run has stopped."""
    thread_id, run_id = _ids(request)
    query = query_model(request, RunCancel)
    reader = await _hub(request).open(thread_id, run_id, START) if query.wait else None
    try:
        status = await runs.cancel(
            _redis(request), thread_id, run_id,
            action=query.action, stream_ttl=settings_of(request).stream_ttl,
        )  # fmt: skip
        if status is None:
            raise NotFoundError("No runs found to cancel.")
        if status in TERMINAL:
            raise NotFoundError(
                f"No matching runs to cancel. Run {run_id} has ended: its status is {status}."
            )
    except BaseException:
        if reader is not None:
            reader.close()
        raise
    if reader is None:
        return Response(status_code=202)
    place = _place(run_id, thread_id)
    return FinalOutput(
        reader,
        _empty,
        headers={"content-location": place, "location": f"{place}/join"},
        keepalive=settings_of(request).keepalive,
    )


async def _empty(_: Entry) -> bytes:
    return b"{}"


async def delete(request: Request) -> Response:
    """`DELETE …/runs/{run_id}`: a run that has not ended is cancelled first."""
    thread_id, run_id = _ids(request)
    redis = _redis(request)
    await runs.get_run(redis, thread_id, run_id)
    await end_run(request, thread_id, run_id)
    await runs.delete_run(redis, thread_id, run_id)
    return Response(status_code=204)


async def end_run(
    request: Request, thread_id: str, run_id: str, *, reason: CancelReason = CancelReason.DELETED
) -> None:
    """Cancels the run if it has not ended, and returns when it has."""
    status = await runs.cancel(
        _redis(request), thread_id, run_id,
        action=CancelAction.INTERRUPT, stream_ttl=settings_of(request).stream_ttl,
        reason=reason,
    )  # fmt: skip
    if status is None or status in TERMINAL:
        return
    reader = await _hub(request).open(thread_id, run_id, START)
    try:
        # A worker that died is followed by another within a lease, if there is one.
        async with asyncio.timeout(settings_of(request).lease_policy.takeover_within):
            while not reader.ended:
                if not await reader.read():
                    await reader.news.wait()
                if reader.closing:
                    raise UnavailableError("The server is stopping; the run was cancelled.")
    except TimeoutError:
        raise UnavailableError(
            f"Run {run_id} was cancelled, but no worker is there to end it. Try again."
        ) from None
    finally:
        reader.close()


async def cancel_many(request: Request) -> Response:
    """`POST /runs/cancel`: runs by their status, or some of one thread."""
    query = query_model(request, RunsCancelQuery)
    body = await read_model(request, RunsCancel)
    if body.thread_id is not None:
        chosen = [(body.thread_id, run_id) for run_id in body.run_ids or ()]
    else:
        chosen = [
            (thread_id, run_id)
            for thread_id, run_id, status in await runs.live_runs(_redis(request))
            if body.status in ("all", status)
        ]
    statuses = [
        await runs.cancel(
            _redis(request), thread_id, run_id,
            action=query.action, stream_ttl=settings_of(request).stream_ttl,
        )
        for thread_id, run_id in chosen
    ]  # fmt: skip
    if not any(status is not None and status not in TERMINAL for status in statuses):
        raise NotFoundError("No runs found to cancel.")
    return Response(status_code=204)
