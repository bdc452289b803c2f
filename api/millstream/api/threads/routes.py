"""Threads: create, read, search, patch, copy, prune, delete."""

import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import json_response, path_uuid, query_model, read_model
from millstream.api.http.context import context_of
from millstream.api.http.json_views import show_thread, show_ttl
from millstream.api.http.pagination import page_headers
from millstream.api.http.resume import last_event, resume_location
from millstream.api.http.sse import ThreadStream
from millstream.api.threads import delete_operations, operations
from millstream.api.threads.json_paths import extract_values, parse_path
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
from millstream.shared.events.thread_stream import translate_modes
from millstream.shared.threads import Ttl
from millstream.shared.threads import search as thread_search


async def create(request: Request) -> Response:
    """`POST /threads`: Creates a thread; with `supersteps`, its first states too."""
    body = await read_model(request, ThreadCreate, empty=True)
    context, ttl = context_of(request), _ttl(body.ttl)
    if body.supersteps:
        supersteps = [
            [update.model_dump(exclude_unset=True) for update in step.updates]
            for step in body.supersteps
        ]
        record = await operations.create_with_states(
            context, body.thread_id, body.metadata, supersteps, if_exists=body.if_exists, ttl=ttl
        )
    else:
        record = await operations.create(
            context, body.thread_id, body.metadata, if_exists=body.if_exists, ttl=ttl
        )
    return json_response(show_thread(record))


def _ttl(ttl: ThreadTtl | None) -> Ttl | None:
    return None if ttl is None else Ttl(round(ttl.ttl * 60_000), ttl.strategy)


async def get(request: Request) -> Response:
    """`GET /threads/{thread_id}`: Returns the thread."""
    thread_id = path_uuid(request, "thread_id", "thread")
    query = query_model(request, ThreadQuery)
    context = context_of(request)
    record = await operations.get(context, thread_id)
    view = show_thread(record)
    if "ttl" in query.include:
        view["ttl"] = show_ttl(record, await operations.expires_at(context, thread_id))
    return json_response(view)


async def storage(request: Request) -> Response:
    """`GET /threads/{thread_id}/storage`: Returns the stored size of the thread's checkpoints, in bytes.

    501 if another checkpointer stores them.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    sizes = await operations.storage(context_of(request), thread_id)
    if sizes is None:
        raise HTTPException(
            501,
            "The size is known for checkpoints in Redis only: another checkpointer stores these.",
        )
    channel_bytes = sum(size for _, size in sizes.channels.values())
    return json_response(
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
    """`POST /threads/search`: Returns a page of the threads that match, newest first."""
    body = await read_model(request, ThreadSearch, empty=True)
    paths = {name: parse_path(path) for name, path in body.extract.items()}
    needed = {*body.select, *(str(path[0]) for path in paths.values())}
    page = await operations.find(
        context_of(request),
        _filter(body, ids=body.ids, sort_by=body.sort_by, descending=body.sort_order == "desc"),
        limit=body.limit,
        offset=body.offset,
        with_state=not body.select or not needed.isdisjoint(thread_search.STATE),
    )
    views = []
    for record in page.records:
        whole = show_thread(record)
        view: dict[str, Any] = {**whole}
        if body.select:
            view = {name: whole[name] for name in body.select}
        if paths:
            view["extracted"] = extract_values(whole, paths)
        views.append(view)
    return json_response(
        views,
        headers=page_headers(page.total, offset=body.offset, limit=body.limit, more=page.more),
    )


async def count(request: Request) -> Response:
    """`POST /threads/count`: Returns the number of threads that match."""
    body = await read_model(request, ThreadFilter, empty=True)
    return json_response(await operations.count(context_of(request), _filter(body)))


def _filter(body: ThreadFilter, **more: Any) -> thread_search.ThreadFilter:
    return thread_search.ThreadFilter(
        metadata=body.metadata,
        exclude=body.exclude_metadata or [],
        values=body.values,
        status=body.status,
        **more,
    )


async def patch(request: Request) -> Response:
    """`PATCH /threads/{thread_id}`: Merges metadata into the thread's, and sets its `ttl`.

    204 without a body for `Prefer: return=minimal`.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    body = await read_model(request, ThreadPatch)
    context = context_of(request)
    record = await operations.patch(context, thread_id, body.metadata, _ttl(body.ttl))
    preferred = request.headers.get("prefer", "").replace(" ", "").lower()
    if "return=minimal" in re.split("[,;]", preferred):
        return Response(status_code=204)
    return json_response(show_thread(record))


async def copy(request: Request) -> Response:
    """`POST /threads/{thread_id}/copy`: Creates a thread with the same state and metadata.

    409 while a run is active on the thread.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    return json_response(show_thread(await operations.copy(context_of(request), thread_id)))


async def prune(request: Request) -> Response:
    """`POST /threads/prune`: Deletes threads, or all their checkpoints but the newest.

    Ignores ids of no thread. 409, with nothing changed, while a run is active on one of the threads.
    """
    body = await read_model(request, ThreadsPrune)
    pruned = await delete_operations.prune(context_of(request), body.thread_ids, body.strategy)
    return json_response({"pruned_count": pruned})


async def stream(request: Request) -> Response:
    """`GET /threads/{thread_id}/stream`: Streams the events of the thread's runs and updates until the client leaves.

    `Last-Event-ID` is the last event that the client has, or `-` for all stored events. Without it, the stream
    starts with the next event. The ids are valid for this stream only.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    query = query_model(request, ThreadStreamQuery)
    context = context_of(request)
    after = last_event(request.headers.get("last-event-id", ""), query.last_event_id)
    translate = translate_modes(frozenset(query.modes))
    reader, begins = await operations.follow_existing(context, thread_id, translate, after)
    location = resume_location(f"/threads/{thread_id}/stream", begins, modes=query.modes)
    return ThreadStream(
        reader,
        operations.watch_of(context, thread_id, after),
        headers={"location": location},
        keepalive=context.settings.keepalive,
    )


async def delete(request: Request) -> Response:
    """`DELETE /threads/{thread_id}`: Cancels the thread's runs and deletes the thread with all its data."""
    await delete_operations.delete(context_of(request), path_uuid(request, "thread_id", "thread"))
    return Response(status_code=204)
