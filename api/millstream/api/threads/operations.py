"""The use cases of threads. state_operations.py has those of their states."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal

import msgspec

from millstream.api import worker_calls
from millstream.api.context import RequestContext
from millstream.api.runs import operations as runs
from millstream.api.stream_watch import StreamWatch
from millstream.api.threads.state_operations import assistant_of
from millstream.shared import keys, scripts, threads
from millstream.shared.errors import ConflictError, NotFoundError, UnavailableError
from millstream.shared.events.entries import START, Position
from millstream.shared.events.thread_stream import ThreadReader, Translate
from millstream.shared.rules.multitask import CancelReason
from millstream.shared.threads import ThreadRecord, Ttl, checkpoint_sizes, search
from millstream.shared.threads.checkpoint_sizes import Sizes
from millstream.shared.threads.search import ThreadFilter, ThreadPage

PAUSE: Final = 0.1  # s between attempts to delete a thread


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

    Raises ConflictError for an id that is taken, unless `if_exists` is "do_nothing".
    """
    return await threads.create_thread(
        context.redis,
        thread_id,
        metadata,
        if_exists=if_exists,
        ttl=ttl or await _default_ttl(context),
    )


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
    try:
        record = await threads.get_thread(context.redis, thread_id)
    except NotFoundError:
        arguments = {
            "thread_id": thread_id,
            "supersteps": supersteps,
            "fields": threads.new_thread_fields(metadata, ttl or await _default_ttl(context)),
            **assistant_of(metadata),
        }
        reply = await worker_calls.call_graph(context, metadata["graph_id"], "seed", arguments)
        record = await threads.get_thread(context.redis, thread_id)
        if msgspec.json.decode(reply)["created"]:
            return record
    if if_exists != "do_nothing":
        raise ConflictError(threads.already_exists_message(thread_id))
    return record


async def _default_ttl(context: RequestContext) -> Ttl | None:
    return threads.default_ttl(await context.directory.project())


async def patch(
    context: RequestContext, thread_id: str, metadata: dict[str, Any], ttl: Ttl | None
) -> None:
    """Merges metadata, and sets the lifetime unless `ttl` is None. Raises NotFoundError."""
    await threads.patch_thread(context.redis, thread_id, metadata, ttl)


async def copy(context: RequestContext, thread_id: str) -> ThreadRecord:
    """Creates a thread with the same state and metadata. Raises ConflictError while a run is active."""
    graph_id = await _external_graph(context, thread_id)
    if graph_id is None:
        return await threads.copy_thread(context.redis, thread_id)
    reply = await worker_calls.call_graph(context, graph_id, "copy", {"thread_id": thread_id})
    return await get(context, msgspec.json.decode(reply)["thread_id"])


async def prune(
    context: RequestContext, thread_ids: Sequence[str], strategy: Literal["delete", "keep_latest"]
) -> int:
    """Deletes threads, or all their checkpoints but the newest. Returns the number of threads that it pruned.

    Ignores ids of no thread. Raises ConflictError, with nothing changed, while a run is active on one.
    """
    thread_ids = list(dict.fromkeys(thread_ids))
    busy = await threads.find_busy(context.redis, thread_ids)
    if busy:
        raise ConflictError(f"thread_ids: a run is active on {', '.join(busy[:10])}")
    pruned = 0
    for thread_id in thread_ids:
        graph_id = None
        if strategy == "keep_latest":
            with suppress(NotFoundError):
                graph_id = await _external_graph(context, thread_id)
        if graph_id is not None:
            await worker_calls.call_graph(context, graph_id, "prune", {"thread_id": thread_id})
        pruned += await threads.prune(context.redis, thread_id, strategy)
    return pruned


async def _external_graph(context: RequestContext, thread_id: str) -> str | None:
    """Returns the graph whose workers reach the thread's checkpoints; None if the checkpoints are in Redis.

    Raises NotFoundError for an unknown thread of a project with another checkpointer.
    """
    if not (await context.directory.project()).external:
        return None
    return (await get(context, thread_id)).graph_id


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(context: RequestContext, thread_id: str) -> ThreadRecord:
    """Returns a thread. Raises NotFoundError."""
    return await threads.get_thread(context.redis, thread_id)


async def require(context: RequestContext, thread_id: str) -> None:
    """Raises NotFoundError if there is no such thread."""
    await threads.require_thread(context.redis, thread_id)


async def expires_at(context: RequestContext, thread_id: str) -> int | None:
    """Returns when the thread expires, as `threads.expires_at` does."""
    return await threads.expires_at(context.redis, thread_id)


async def interrupts(context: RequestContext, thread_id: str) -> bytes:
    """Returns the interrupts on which the thread waits, as `threads.get_interrupts` does."""
    return await threads.get_interrupts(context.redis, thread_id)


async def storage(context: RequestContext, thread_id: str) -> Sizes | None:
    """Returns the stored sizes of the thread's checkpoints; None if another checkpointer stores them.

    Raises NotFoundError.
    """
    await require(context, thread_id)
    if (await context.directory.project()).external:
        return None
    return await checkpoint_sizes.measure(context.redis, thread_id)


async def find(
    context: RequestContext,
    query: ThreadFilter,
    *,
    limit: int,
    offset: int = 0,
    with_state: bool = False,
) -> ThreadPage:
    """Returns a page of the threads that match."""
    return await search.search(
        context.redis, query, limit=limit, offset=offset, with_state=with_state
    )


async def count(context: RequestContext, query: ThreadFilter) -> int:
    """Returns the number of threads that match."""
    return await search.count(context.redis, query)


async def follow(
    context: RequestContext, thread_id: str, translate: Translate, after: Position | None
) -> tuple[ThreadReader, Position]:
    """Follows a thread after a position. Returns its reader, and the position after which the reader begins.

    Without a position, it begins with the next event. The thread need not exist yet. `translate` converts an entry
    to the client's events. Close the reader when done.
    """
    context.limits.hold_stream()
    reader = ThreadReader(context.hub, context.redis, thread_id, translate)
    try:
        return reader, await reader.begin(after)
    except BaseException:
        reader.close()
        raise


@asynccontextmanager
async def new_runs(context: RequestContext, thread_id: str) -> AsyncIterator[asyncio.Event]:
    """Yields an asyncio event that is set whenever the thread may have a new run or update."""
    context.limits.hold_stream()
    channel, news = keys.segments(thread_id), asyncio.Event()
    await context.hub.watch(channel, news)
    try:
        yield news
    finally:
        context.hub.unwatch(channel, news)


def watch_of(
    context: RequestContext, thread_id: str, after: Position | None = START
) -> StreamWatch:
    """Returns an object that reports the thread's stream to the observer."""
    return StreamWatch(context.observer, thread_id, None, resumed=after not in (None, START))


# ── Delete ──────────────────────────────────────────────────────────────────────────────────


async def delete(context: RequestContext, thread_id: str) -> None:
    """Cancels the thread's runs and deletes the thread with all its data.

    Raises:
        NotFoundError: there is no such thread.
        UnavailableError: its runs do not end; it is deleted once they have.
    """
    retired = False
    deadline = time.monotonic() + context.settings.lease_policy.takeover_within
    while True:
        try:
            run_ids = await threads.retire_thread(context.redis, thread_id)
        except NotFoundError:
            if retired:  # the reaper has completed the deletion
                return
            raise
        retired = True
        for run_id in reversed(run_ids):  # pending runs first, so that they never start
            await runs.request_cancel(context, thread_id, run_id, reason=CancelReason.DELETED)
        for run_id in run_ids:
            await runs.cancel_and_wait(context, thread_id, run_id)
        if await threads.delete_thread(context.redis, thread_id):
            return
        # A run was admitted meanwhile, or the thread waits for a run that does not exist.
        await scripts.repair_thread(context.redis, thread_id)
        if time.monotonic() > deadline:
            raise UnavailableError("The thread's runs do not end; it is deleted once they have.")
        await asyncio.sleep(PAUSE)
