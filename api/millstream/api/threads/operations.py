"""The use cases of threads. state_operations.py has those of their states."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import msgspec

from millstream.api import worker_calls
from millstream.api.auth.permits import Permit, ThreadPermit, rejudged
from millstream.api.context import RequestContext
from millstream.api.stream_watch import StreamWatch
from millstream.api.threads.state_operations import permitted_assistant_of
from millstream.shared import keys, threads
from millstream.shared.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
)
from millstream.shared.events.entries import START, Position
from millstream.shared.events.thread_stream import ThreadReader, Translate
from millstream.shared.rules.lifecycle import ThreadStatus
from millstream.shared.threads import ThreadRecord, Ttl, checkpoint_sizes, search
from millstream.shared.threads.checkpoint_sizes import Sizes
from millstream.shared.threads.search import ThreadFilter, ThreadPage

# ── Create and change ───────────────────────────────────────────────────────────────────────


async def create(
    context: RequestContext,
    thread_id: str | None,
    metadata: dict[str, Any],
    *,
    if_exists: str,
    ttl: Ttl | None,
) -> ThreadRecord:
    """Creates a thread. Without `ttl`, it has the project's default lifetime.

    Raises ConflictError for an id that is taken, unless `if_exists` is "do_nothing" and the caller may read the thread.
    """
    thread_id = thread_id or str(uuid.uuid4())
    permit = await _permit_create(context, thread_id, metadata, if_exists)
    record = await threads.create_thread(
        permit.redis,
        thread_id,
        permit.stamp(permit.metadata),
        if_exists=if_exists,
        ttl=ttl or await _default_ttl(context),
    )
    return _require_readable(permit, record)


async def _permit_create(
    context: RequestContext, thread_id: str, metadata: dict[str, Any], if_exists: str
) -> Permit:
    """Returns the permit to create a thread, or to read it if it exists already and that is enough.

    Raises ConflictError for a thread that the caller may not read.
    """
    value = {"thread_id": thread_id, "metadata": metadata, "if_exists": if_exists}
    permit = await context.authorize("threads.create", value)
    if if_exists == "do_nothing" and context.caller.user is not None:
        existing = await threads.read_metadata(permit.redis, thread_id)
        if existing is not None:
            await context.authorize_thread(
                "threads.read", thread_id, missing=lambda: _already_exists(thread_id)
            )
    return permit


def _require_readable(permit: Permit, record: ThreadRecord) -> ThreadRecord:
    if not permit.allows(record.metadata):
        raise _already_exists(record.thread_id)
    return record


def _already_exists(thread_id: str) -> ConflictError:
    return ConflictError(threads.already_exists_message(thread_id))


async def create_with_states(
    context: RequestContext,
    thread_id: str | None,
    metadata: dict[str, Any],
    supersteps: list[list[dict[str, Any]]],
    *,
    if_exists: str,
    ttl: Ttl | None,
) -> ThreadRecord:
    """Creates a thread with its first states, which a worker stores. With "do_nothing", returns an existing thread.

    `metadata` names the graph. Each superstep is a list of updates. Raises what `create` raises.
    """
    thread_id = thread_id or str(uuid.uuid4())
    permit = await _permit_create(context, thread_id, metadata, if_exists)
    stamped = permit.stamp(permit.metadata)
    writing = await context.authorize("threads.update", {"thread_id": thread_id})
    writing.require(stamped)
    try:
        record = await threads.get_thread(permit.redis, thread_id)
    except NotFoundError:
        arguments = {
            "thread_id": thread_id,
            "supersteps": supersteps,
            "fields": threads.new_thread_fields(stamped, ttl or await _default_ttl(context)),
            **await permitted_assistant_of(context, metadata),
        }
        reply = await worker_calls.call_graph(
            context, permit, metadata["graph_id"], "seed", arguments
        )
        record = await threads.get_thread(permit.redis, thread_id)
        if msgspec.json.decode(reply)["created"]:
            return record
    if if_exists != "do_nothing":
        raise _already_exists(thread_id)
    return _require_readable(permit, record)


async def _default_ttl(context: RequestContext) -> Ttl | None:
    return threads.default_ttl(await context.as_server().directory.project())


async def patch(
    context: RequestContext, thread_id: str, metadata: dict[str, Any], ttl: Ttl | None
) -> ThreadRecord:
    """Merges metadata, and sets the lifetime unless `ttl` is None. Raises NotFoundError."""
    value = {"thread_id": thread_id, "metadata": metadata}
    permit = await context.authorize("threads.update", value)

    def judge(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        if before is None or not permit.allows(before):
            raise threads.not_found_error(thread_id)
        permit.require(after)

    await threads.patch_thread(permit.redis, thread_id, permit.metadata, ttl, judge)
    return await threads.get_thread(permit.redis, thread_id)


@rejudged
async def copy(context: RequestContext, thread_id: str) -> ThreadRecord:
    """Creates a thread with the same state and metadata. Raises ConflictError while a run is active.

    The copy is the caller's.
    """
    reading = await context.authorize_thread("threads.read", thread_id)
    creation = await context.authorize("threads.create", {"thread_id": thread_id})

    def restamp(metadata: dict[str, Any]) -> dict[str, Any]:
        if not reading.allows(metadata):
            raise threads.not_found_error(thread_id)
        return creation.stamp({**metadata, **creation.metadata})

    changes = None if context.caller.user is None else restamp
    graph_id = await external_graph(context, reading)
    if graph_id is None:
        return await threads.copy_thread(reading.redis, thread_id, restamp=changes)
    arguments: dict[str, Any] = {"thread_id": thread_id}
    if changes is not None:
        before = (await threads.get_thread(reading.redis, thread_id)).metadata
        arguments |= {"before": before, "metadata": changes(before)}
    reply = await worker_calls.call_graph(context, reading, graph_id, "copy", arguments)
    return await threads.get_thread(reading.redis, msgspec.json.decode(reply)["thread_id"])


async def external_graph(context: RequestContext, permit: ThreadPermit) -> str | None:
    """Returns the graph whose workers reach the thread's checkpoints; None if the checkpoints are in Redis.

    Raises NotFoundError for an unknown thread of a project with another checkpointer.
    """
    if not (await context.as_server().directory.project()).external:
        return None
    return (await threads.get_thread(permit.redis, permit.thread_id)).graph_id


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(context: RequestContext, thread_id: str) -> ThreadRecord:
    """Returns a thread. Raises NotFoundError."""
    permit = await context.authorize_thread("threads.read", thread_id)
    record = await threads.get_thread(permit.redis, thread_id)
    if not permit.allows(record.metadata):  # it became another's meanwhile
        raise threads.not_found_error(thread_id)
    return record


async def expires_at(context: RequestContext, thread_id: str) -> int | None:
    """Returns when the thread expires, as `threads.expires_at` does. Raises NotFoundError."""
    permit = await context.authorize_thread("threads.read", thread_id)
    return await threads.expires_at(permit.redis, thread_id)


async def interrupts(context: RequestContext, thread_id: str) -> bytes:
    """Returns the interrupts on which the thread waits, as `threads.get_interrupts` does; `{}` for no thread."""
    with suppress(NotFoundError):
        permit = await context.authorize_thread("threads.read", thread_id)
        return await threads.get_interrupts(permit.redis, thread_id)
    return b"{}"


async def storage(context: RequestContext, thread_id: str) -> Sizes | None:
    """Returns the stored sizes of the thread's checkpoints; None if another checkpointer stores them.

    Raises NotFoundError.
    """
    permit = await context.authorize_thread("threads.read", thread_id)
    await threads.require_thread(permit.redis, thread_id)
    if (await permit.directory.project()).external:
        return None
    return await checkpoint_sizes.measure(permit.redis, thread_id)


async def find(
    context: RequestContext,
    query: ThreadFilter,
    *,
    limit: int,
    offset: int = 0,
    with_state: bool = False,
) -> ThreadPage:
    """Returns a page of the caller's threads that match."""
    permit, query = await _permit_search(context, query, limit=limit, offset=offset)
    return await search.search(
        permit.redis, query, limit=limit, offset=offset, with_state=with_state
    )


async def find_as_server(
    context: RequestContext, query: ThreadFilter, *, limit: int, offset: int
) -> ThreadPage:
    """Returns a page of all threads that match, without their states. The caller may not see them."""
    redis = context.as_server().redis
    return await search.search(redis, query, limit=limit, offset=offset, with_state=False)


async def count(context: RequestContext, query: ThreadFilter) -> int:
    """Returns the number of the caller's threads that match."""
    permit, query = await _permit_search(context, query)
    return await search.count(permit.redis, query)


async def _permit_search(
    context: RequestContext, query: ThreadFilter, *, limit: int | None = None, offset: int = 0
) -> tuple[Permit, ThreadFilter]:
    """Returns the permit to search, and the query as the decider left it."""
    value = {
        "metadata": query.metadata,
        "values": query.values,
        "status": query.status,
        "limit": limit,
        "offset": offset,
    }
    permit = await context.authorize("threads.search", value)
    status, values = permit.value.get("status"), permit.value.get("values")
    return permit, replace(
        query,
        metadata=permit.metadata,
        values=values if isinstance(values, dict) else {},
        status=_status(status),
        access=permit.filter,
    )


def _status(value: Any) -> ThreadStatus | None:
    """Returns the status as the decider left it. Raises InvalidError for one that threads do not have."""
    try:
        return None if value is None else ThreadStatus(value)
    except ValueError:
        raise InvalidError(
            f"status: {value!r:.80}, as the authorization left it, is not a status of threads"
        ) from None


async def follow(
    context: RequestContext, thread_id: str, translate: Translate, after: Position | None
) -> tuple[ThreadReader, Position]:
    """Follows a thread after a position. Returns its reader, and the position after which the reader begins.

    Without a position, it begins with the next event. The thread need not exist yet. A thread that is not one of the
    caller's looks as if it did not exist: the reader has no events. `translate` converts an entry to the client's
    events. Close the reader when done.
    """
    permit = await context.authorize_reads(thread_id)
    context.limits.hold_stream()
    reader = ThreadReader(
        permit.hub,
        permit.redis,
        thread_id,
        translate,
        None if permit.filter is None else lambda: _may_read(permit, thread_id),
    )
    try:
        return reader, await reader.begin(after)
    except BaseException:
        reader.close()
        raise


async def follow_existing(
    context: RequestContext, thread_id: str, translate: Translate, after: Position | None
) -> tuple[ThreadReader, Position]:
    """Follows a thread as `follow` does. Raises NotFoundError if it does not exist."""
    permit = await context.authorize_thread("threads.read", thread_id)
    await threads.require_thread(permit.redis, thread_id)
    return await follow(context, thread_id, translate, after)


async def _may_read(permit: Permit, thread_id: str) -> bool:
    judged = await threads.read_metadata(permit.redis, thread_id)
    return judged is not None and permit.allows(judged.metadata)


@asynccontextmanager
async def new_runs(context: RequestContext, thread_id: str) -> AsyncIterator[asyncio.Event]:
    """Yields an asyncio event that is set whenever the thread may have a new run or update."""
    permit = await context.authorize_thread("threads.read", thread_id)
    context.limits.hold_stream()
    channel, news = keys.segments(thread_id), asyncio.Event()
    await permit.hub.watch(channel, news)
    try:
        yield news
    finally:
        permit.hub.unwatch(channel, news)


def watch_of(
    context: RequestContext, thread_id: str, after: Position | None = START
) -> StreamWatch:
    """Returns an object that reports the thread's stream to the observer."""
    return StreamWatch(context.observer, thread_id, None, resumed=after not in (None, START))
