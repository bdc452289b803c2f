"""Threads: create, read, search, patch, copy, prune, delete."""

import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import answer, path_uuid, query_model, read_model
from millstream.api.http.context import context_of
from millstream.api.http.json_views import show_thread, show_ttl
from millstream.api.http.pagination import page_headers
from millstream.api.http.resume import last_event, resume_location
from millstream.api.http.sse import ThreadStream
from millstream.api.threads import operations
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
from millstream.shared.events.thread_stream import translate_modes
from millstream.shared.threads import Ttl
from millstream.shared.threads import search as thread_search


async def create(request: Request) -> Response:
    """`POST /threads`: a thread; with `supersteps` it has a state from the start."""
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
    return answer(show_thread(record))


def _ttl(ttl: ThreadTtl | None) -> Ttl | None:
    return None if ttl is None else Ttl(round(ttl.ttl * 60_000), ttl.strategy)


async def get(request: Request) -> Response:
    """`GET /threads/{thread_id}`"""
    thread_id = path_uuid(request, "thread_id", "thread")
    query = query_model(request, ThreadQuery)
    context = context_of(request)
    record = await operations.get(context, thread_id)
    view = show_thread(record)
    if "ttl" in query.include:
        view["ttl"] = show_ttl(record, await operations.expires_at(context, thread_id))
    return answer(view)


async def storage(request: Request) -> Response:
    """`GET /threads/{thread_id}/storage`: bytes that the thread's checkpoints take, as they are stored.

    501 where another checkpointer keeps them.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    sizes = await operations.storage(context_of(request), thread_id)
    if sizes is None:
        raise HTTPException(501, "Only Millstream's own checkpoints are measured.")
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
            view["extracted"] = extracted(whole, paths)
        views.append(view)
    return answer(
        views,
        headers=page_headers(page.total, offset=body.offset, limit=body.limit, more=page.more),
    )


async def count(request: Request) -> Response:
    """`POST /threads/count`: how many threads fit."""
    body = await read_model(request, ThreadFilter, empty=True)
    return answer(await operations.count(context_of(request), _filter(body)))


def _filter(body: ThreadFilter, **more: Any) -> thread_search.ThreadFilter:
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
    context = context_of(request)
    await operations.patch(context, thread_id, body.metadata, _ttl(body.ttl))
    preferred = request.headers.get("prefer", "").replace(" ", "").lower()
    if "return=minimal" in re.split("[,;]", preferred):
        return Response(status_code=204)
    return answer(show_thread(await operations.get(context, thread_id)))


async def copy(request: Request) -> Response:
    """`POST /threads/{thread_id}/copy`: a new thread with the same state and metadata.

    409 while a run is active on the thread.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    return answer(show_thread(await operations.copy(context_of(request), thread_id)))


async def prune(request: Request) -> Response:
    """`POST /threads/prune`: deletes threads, or all their checkpoints but the newest.

    Ids of no thread are passed over. 409, with nothing changed, while a run is active on one of them.
    """
    body = await read_model(request, ThreadsPrune)
    pruned = await operations.prune(context_of(request), body.thread_ids, body.strategy)
    return answer({"pruned_count": pruned})


async def stream(request: Request) -> Response:
    """`GET /threads/{thread_id}/stream`: what runs and updates tell, until the client leaves.

    `Last-Event-ID` is the last event that the client has, or `-` for all that is kept; without it, from
    now on. An event's id holds for this stream alone.
    """
    thread_id = path_uuid(request, "thread_id", "thread")
    query = query_model(request, ThreadStreamQuery)
    context = context_of(request)
    await operations.require(context, thread_id)
    after = last_event(request.headers.get("last-event-id", ""), query.last_event_id)
    translate = translate_modes(frozenset(query.modes))
    reader, begins = await operations.follow(context, thread_id, translate, after)
    back = resume_location(f"/threads/{thread_id}/stream", begins, modes=query.modes)
    return ThreadStream(
        reader,
        operations.watch_of(context, thread_id, after),
        headers={"location": back},
        keepalive=context.settings.keepalive,
    )


async def delete(request: Request) -> Response:
    """`DELETE /threads/{thread_id}`: its runs are cancelled first; then all that belongs to it goes."""
    await operations.delete(context_of(request), path_uuid(request, "thread_id", "thread"))
    return Response(status_code=204)
