"""Threads: create, read, search, patch, copy, prune, delete."""

import asyncio
import re
import time
import uuid
from contextlib import suppress
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import answer, path_uuid, query_model, read_model, settings_of
from millstream.api.http.json_views import show_thread, show_ttl
from millstream.api.http.pagination import page_headers
from millstream.api.http.resume import last_event, resume_location
from millstream.api.http.sse import ThreadStream
from millstream.api.runs.routes import end_run
from millstream.api.threads.json_paths import extracted, parse_path
from millstream.api.threads.schemas import (
    ThreadCreate,
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
    ThreadSearch,
    ThreadsPrune,
    ThreadStreamQuery,
    ThreadTtl,
)
from millstream.api.threads.state_routes import ask, assistant_of
from millstream.shared import runs, scripts, threads
from millstream.shared.errors import ConflictError, NotFoundError, UnavailableError
from millstream.shared.events.thread_stream import ThreadReader, translate_modes
from millstream.shared.rules.multitask import CancelAction, CancelReason
from millstream.shared.threads import ThreadRecord, Ttl, checkpoint_sizes
from millstream.shared.threads import search as thread_search

PAUSE = 0.1  # s between looks


async def create(request: Request) -> Response:
    """`POST /threads`: a thread; with `supersteps` it has a state from the start."""
    body = await read_model(request, ThreadCreate, empty=True)
    if body.supersteps:
        return answer(show_thread(await _seed(request, body)))
    record = await threads.create_thread(
        request.app.state.redis,
        body.thread_id,
        body.metadata,
        if_exists=body.if_exists,
        ttl=await _ttl_of(request, body.ttl),
    )
    return answer(show_thread(record))


async def _seed(request: Request, body: ThreadCreate) -> ThreadRecord:
    """Creates a thread with its first states, which a worker makes and stores; or finds it there."""
    redis = request.app.state.redis
    thread_id = body.thread_id or str(uuid.uuid4())
    try:
        found = await threads.get_thread(redis, thread_id)
    except NotFoundError:
        arguments = {
            "thread_id": thread_id,
            "supersteps": [
                [u.model_dump(exclude_unset=True) for u in step.updates] for step in body.supersteps
            ],
            "fields": threads.new_thread_fields(body.metadata, await _ttl_of(request, body.ttl)),
            **assistant_of(body.metadata),
        }
        done = await ask(request, body.metadata["graph_id"], "seed", arguments)
        found = await threads.get_thread(redis, thread_id)
        if msgspec.json.decode(done)["created"]:
            return found
    if body.if_exists != "do_nothing":
        raise ConflictError(threads.already_exists_message(thread_id))
    return found


async def _ttl_of(request: Request, given: ThreadTtl | None) -> Ttl | None:
    """Returns the lifetime of a new thread: the request's, or else the project's."""
    return _ttl(given) or threads.default_ttl(await request.app.state.graphs.project())


def _ttl(given: ThreadTtl | None) -> Ttl | None:
    return None if given is None else Ttl(round(given.ttl * 60_000), given.strategy)


async def get(request: Request) -> Response:
    """`GET /threads/{thread_id}`"""
    thread_id = path_uuid(request, "thread_id", "thread")
    query = query_model(request, ThreadQuery)
    redis = request.app.state.redis
    record = await threads.get_thread(redis, thread_id)
    shown = show_thread(record)
    if "ttl" in query.include:
        shown["ttl"] = show_ttl(record, await threads.expires_at(redis, thread_id))
    return answer(shown)


async def storage(request: Request) -> Response:
    """`GET /threads/{thread_id}/storage`: bytes that the thread's checkpoints take, as they are stored.

    501 where another checkpointer keeps them.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    redis = request.app.state.redis
    await threads.require_thread(redis, thread_id)
    if (await request.app.state.graphs.project()).external:
        raise HTTPException(501, "Only Millstream's own checkpoints are measured.")
    sizes = await checkpoint_sizes.measure(redis, thread_id)
    channel_bytes = sum(size for _, size in sizes.channels.values())
    return answer(
        {
            "thread_id": thread_id,
            "total_bytes": sizes.checkpoint_bytes + channel_bytes + sizes.write_bytes,
            "checkpoints": {"count": sizes.checkpoints, "bytes": sizes.checkpoint_bytes},
            "channel_values": {
                "count": sum(versions for versions, _ in sizes.channels.values()),
                "bytes": channel_bytes,
                "by_channel": {
                    name: {"versions": versions, "bytes": size}
                    for name, (versions, size) in sorted(sizes.channels.items())
                },
            },
            "pending_writes": {"count": sizes.writes, "bytes": sizes.write_bytes},
        }
    )


async def search(request: Request) -> Response:
    """`POST /threads/search`: threads that fit, a page at a time; newest first."""
    body = await read_model(request, ThreadSearch, empty=True)
    paths = {name: parse_path(path) for name, path in body.extract.items()}
    needed = {*body.select, *(str(path[0]) for path in paths.values())}
    page = await thread_search.search(
        request.app.state.redis,
        _wanted(body, ids=body.ids, sort_by=body.sort_by, descending=body.sort_order == "desc"),
        limit=body.limit,
        offset=body.offset,
        with_state=not body.select or not needed.isdisjoint(thread_search.STATE),
    )
    found = []
    for record in page.records:
        whole = show_thread(record)
        shown: dict[str, Any] = {**whole}
        if body.select:
            shown = {name: whole[name] for name in body.select}
        if paths:
            shown["extracted"] = extracted(whole, paths)
        found.append(shown)
    return answer(
        found,
        headers=page_headers(page.total, offset=body.offset, limit=body.limit, more=page.more),
    )


async def count(request: Request) -> Response:
    """`POST /threads/count`: how many threads fit."""
    body = await read_model(request, ThreadFilter, empty=True)
    return answer(await thread_search.count(request.app.state.redis, _wanted(body)))


def _wanted(body: ThreadFilter, **more: Any) -> thread_search.ThreadFilter:
    return thread_search.ThreadFilter(
        metadata=body.metadata,
        exclude=body.exclude_metadata or [],
        values=body.values,
        status=body.status,
        **more,
    )


async def patch(request: Request) -> Response:
    """`PATCH /threads/{thread_id}`: merges metadata, sets the `ttl`.

    204 without a body for `Prefer: return=minimal`.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    body = await read_model(request, ThreadPatch)
    redis = request.app.state.redis
    await threads.patch_thread(redis, thread_id, body.metadata, _ttl(body.ttl))
    preferred = request.headers.get("prefer", "").replace(" ", "").lower()
    if "return=minimal" in re.split("[,;]", preferred):
        return Response(status_code=204)
    return answer(show_thread(await threads.get_thread(redis, thread_id)))


async def copy(request: Request) -> Response:
    """`POST /threads/{thread_id}/copy`: a new thread with the same state and metadata.

    409 while a run is active on the thread.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    redis = request.app.state.redis
    graph_id = await _kept_elsewhere(request, thread_id)
    if graph_id is None:
        return answer(show_thread(await threads.copy_thread(redis, thread_id)))
    done = msgspec.json.decode(await ask(request, graph_id, "copy", {"thread_id": thread_id}))
    return answer(show_thread(await threads.get_thread(redis, done["thread_id"])))


async def _kept_elsewhere(request: Request, thread_id: str) -> str | None:
    """Returns the graph whose workers keep the thread's checkpoints, None if they lie in Redis.

    Raises NotFoundError if they do not, and there is no such thread.
    """
    if not (await request.app.state.graphs.project()).external:
        return None
    return (await threads.get_thread(request.app.state.redis, thread_id)).graph_id


async def prune(request: Request) -> Response:
    """`POST /threads/prune`: deletes threads, or all their checkpoints but the newest.

    Ids of no thread are passed over. 409, with nothing changed, while a run is active on one of them.
    """
    body = await read_model(request, ThreadsPrune)
    redis = request.app.state.redis
    thread_ids = list(dict.fromkeys(body.thread_ids))
    busy = await threads.find_busy(redis, thread_ids)
    if busy:
        raise ConflictError(f"thread_ids: a run is active on {', '.join(busy[:10])}")
    pruned = 0
    for thread_id in thread_ids:
        graph_id = None
        if body.strategy == "keep_latest":
            with suppress(NotFoundError):
                graph_id = await _kept_elsewhere(request, thread_id)
        if graph_id is not None:
            await ask(request, graph_id, "prune", {"thread_id": thread_id})
        pruned += await threads.prune(redis, thread_id, body.strategy)
    return answer({"pruned_count": pruned})


async def stream(request: Request) -> Response:
    """`GET /threads/{thread_id}/stream`: what runs and updates tell, until the client leaves.

    `Last-Event-ID` is the last event that the client has, or `-` for all that is kept; without it, from
    now on. An event's id holds for this stream alone.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    query = query_model(request, ThreadStreamQuery)
    redis = request.app.state.redis
    await threads.require_thread(redis, thread_id)
    reader = ThreadReader(
        request.app.state.hub, redis, thread_id, translate_modes(frozenset(query.modes))
    )
    try:
        begins = await reader.begin(last_event(request, query.last_event_id))
    except BaseException:
        reader.close()
        raise
    back = resume_location(f"/threads/{thread_id}/stream", begins, modes=query.modes)
    return ThreadStream(
        reader, headers={"location": back}, keepalive=settings_of(request).keepalive
    )


async def delete(request: Request) -> Response:
    """`DELETE /threads/{thread_id}`: its runs are cancelled first; then all that belongs to it goes."""
    await delete_thread(request, path_uuid(request, "thread_id", "thread"))
    return Response(status_code=204)


async def delete_thread(request: Request, thread_id: str) -> None:
    """Cancels the thread's runs and deletes it with all that belongs to it.

    Raises:
        NotFoundError: there is no such thread.
        UnavailableError: its runs do not end; it is deleted once they have.
    """
    redis = request.app.state.redis
    retired = False
    deadline = time.monotonic() + settings_of(request).lease_policy.takeover_within
    while True:
        try:
            run_ids = await threads.retire_thread(redis, thread_id)
        except NotFoundError:
            if retired:  # the reaper has gone on with what we began
                return
            raise
        retired = True
        for run_id in reversed(run_ids):  # those that wait go first, so that they never begin
            await runs.cancel(
                redis, thread_id, run_id,
                action=CancelAction.INTERRUPT, stream_ttl=settings_of(request).stream_ttl,
                reason=CancelReason.DELETED,
            )  # fmt: skip
        for run_id in run_ids:
            await end_run(request, thread_id, run_id)
        if await threads.delete_thread(redis, thread_id):
            return
        # A run was admitted meanwhile, or the thread waits for one that is gone.
        await scripts.repair_thread(redis, thread_id)
        if time.monotonic() > deadline:
            raise UnavailableError("The thread's runs do not end; it is deleted once they have.")
        await asyncio.sleep(PAUSE)
