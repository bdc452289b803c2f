"""The use cases of admitted runs: read, follow, cancel, delete."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.api.context import RequestContext
from millstream.api.stream_watch import StreamWatch
from millstream.shared import runs, threads
from millstream.shared.errors import NotFoundError, UnavailableError
from millstream.shared.events.entries import START, Entry, Position
from millstream.shared.events.reader import Reader
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason
from millstream.shared.runs import RunRecord, search
from millstream.shared.runs.explain import explanation_to_json
from millstream.shared.runs.situation import read_situation

OnLeave = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FollowedRun:
    """A run, and a reader of its events for one client. Close the reader when done."""

    record: RunRecord
    reader: Reader
    watch: StreamWatch
    begins: Position = START  # the reader begins after it
    number: int = 0  # of this client among the joiners of the run; 0 for its creator

    @property
    def thread_id(self) -> str:
        """The id of the thread, also for a stateless run."""
        return self.record.spec.thread_id

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.record.spec.run_id


# ── Read and follow ─────────────────────────────────────────────────────────────────────────


async def get(context: RequestContext, thread_id: str, run_id: str) -> RunRecord:
    """Returns a run. Raises NotFoundError."""
    return await runs.get_run(context.redis, thread_id, run_id)


async def explain(context: RequestContext, thread_id: str, run_id: str) -> dict[str, Any]:
    """Returns why the run does not move, and its attempts, as JSON. Raises NotFoundError."""
    situation = await read_situation(context.redis, thread_id, run_id)
    if situation is None:
        raise NotFoundError(f"Run with ID {run_id} not found")
    return explanation_to_json(situation)


async def find(context: RequestContext, thread_id: str, run_id: str) -> RunRecord | None:
    """Returns a run, or None."""
    return await runs.find_run(context.redis, thread_id, run_id)


async def list_runs(
    context: RequestContext,
    thread_id: str,
    *,
    limit: int,
    offset: int = 0,
    status: RunStatus | None = None,
) -> list[RunRecord]:
    """Returns runs of a thread, the newest first. An unknown thread has no runs."""
    return await runs.list_runs(context.redis, thread_id, limit=limit, offset=offset, status=status)


async def search_runs(
    context: RequestContext,
    *,
    thread_id: str | None,
    agent_id: str | None,
    status: RunStatus | None,
    metadata: dict[str, Any],
    limit: int,
    offset: int,
) -> list[RunRecord]:
    """Returns runs that match all arguments, the newest first. Without a thread, only runs that have not ended.

    `agent_id` is an assistant's id or a graph's name. Raises NotFoundError for a thread that does not exist.
    """
    if thread_id is not None:
        await threads.require_thread(context.redis, thread_id)
    assistant_id = None
    if agent_id is not None:
        assistant_id = (await context.directory.resolve(agent_id)).assistant.assistant_id
    return await search.search(
        context.redis,
        thread_id=thread_id,
        status=status,
        assistant_id=assistant_id,
        metadata=metadata,
        limit=limit,
        offset=offset,
    )


async def join(
    context: RequestContext, thread_id: str, run_id: str, after: Position | None
) -> FollowedRun:
    """Follows a run after a position. None: from the next event, or for an ended run from its first stored one.

    The client counts as joined once its reader has a cursor, so not if Redis is unavailable. Raises NotFoundError.
    """
    record = await runs.get_run(context.redis, thread_id, run_id)
    context.limits.hold_stream()
    reader = await context.hub.open(thread_id, run_id, after)
    try:
        begins = await reader.begin()
        number = await runs.note_joined(context.redis, thread_id, run_id)
    except BaseException:
        reader.close()
        raise
    watch = StreamWatch(context.observer, thread_id, run_id, resumed=after not in (None, START))
    return FollowedRun(record, reader, watch, begins, number)


async def follow(context: RequestContext, record: RunRecord, after: Position | None) -> FollowedRun:
    """Follows a run after a position, or with None from the next event.

    The client does not count as joined.
    """
    thread_id, run_id = record.spec.thread_id, record.spec.run_id
    context.limits.hold_stream()
    reader = await context.hub.open(thread_id, run_id, after)
    return FollowedRun(record, reader, StreamWatch(context.observer, thread_id, run_id))


async def stored_entries(
    context: RequestContext, thread_id: str, run_id: str
) -> AsyncIterator[Entry]:
    """Yields all stored events of the run."""
    async for entry in context.hub.read_stored(thread_id, run_id):
        yield entry


async def newest_entry(context: RequestContext, thread_id: str, run_id: str) -> Entry | None:
    """Returns the newest stored event of the run."""
    return await context.hub.newest_entry(thread_id, run_id)


async def final_output(
    context: RequestContext, thread_id: str, run_id: str, end: Entry | None
) -> bytes:
    """Returns the run's final state as JSON. `end` is the run's last event, if it is stored."""
    output = None if end is None else end.output
    return await runs.final_output(context.redis, thread_id, run_id, output)


# ── End ─────────────────────────────────────────────────────────────────────────────────────


async def cancel(
    context: RequestContext, thread_id: str, run_id: str, action: CancelAction
) -> None:
    """Cancels a run without waiting for its end. Raises NotFoundError if there is nothing to cancel."""
    status = await request_cancel(context, thread_id, run_id, action=action)
    if status is None:
        raise NotFoundError("No runs found to cancel.")
    if status in TERMINAL:
        raise NotFoundError(
            f"No matching runs to cancel. Run {run_id} has ended: its status is {status}."
        )


async def cancel_and_follow(
    context: RequestContext, thread_id: str, run_id: str, action: CancelAction
) -> tuple[Reader, StreamWatch]:
    """Cancels a run and follows it to its end. Raises what `cancel` raises."""
    context.limits.hold_stream()
    reader = await context.hub.open(thread_id, run_id, START)
    try:
        await cancel(context, thread_id, run_id, action)
    except BaseException:
        reader.close()
        raise
    return reader, StreamWatch(context.observer, thread_id, run_id)


async def cancel_many(
    context: RequestContext, run_refs: Sequence[tuple[str, str]], action: CancelAction
) -> None:
    """Cancels runs by thread id and run id. Raises NotFoundError if all of them have ended."""
    statuses = [
        await request_cancel(context, thread_id, run_id, action=action)
        for thread_id, run_id in run_refs
    ]
    if not any(status is not None and status not in TERMINAL for status in statuses):
        raise NotFoundError("No runs found to cancel.")


async def live_runs(context: RequestContext, status: RunStatus | None) -> list[tuple[str, str]]:
    """Returns the thread id and run id of each run that has not ended, with one status or with both."""
    return [
        (thread_id, run_id)
        for thread_id, run_id, current in await runs.live_runs(context.redis)
        if status in (None, current)
    ]


async def request_cancel(
    context: RequestContext,
    thread_id: str,
    run_id: str,
    *,
    action: CancelAction = CancelAction.INTERRUPT,
    reason: CancelReason = CancelReason.EXPLICIT,
    joined: int | None = None,
) -> RunStatus | None:
    """Requests the cancel of a run. Returns its status before, or None for an unknown run.

    `joined` is the number of a client that left. There is no effect if another client has joined since.
    """
    return await runs.cancel(
        context.redis,
        thread_id,
        run_id,
        action=action,
        stream_ttl=context.settings.stream_ttl,
        reason=reason,
        joined=joined,
    )


def cancel_on_leave(context: RequestContext, followed: FollowedRun) -> OnLeave:
    """Returns a function to call when the client has left. It cancels the run unless the client returns in time.

    With a grace period, any client that joined later counts as returned, also if it joined before the server
    noticed that the old connection was dead.
    """
    grace = context.settings.disconnect_grace

    async def cancel_run() -> None:
        await asyncio.sleep(grace)
        await request_cancel(
            context,
            followed.thread_id,
            followed.run_id,
            reason=CancelReason.DISCONNECT,
            joined=followed.number if grace else None,
        )

    return cancel_run


async def cancel_and_wait(
    context: RequestContext,
    thread_id: str,
    run_id: str,
    *,
    reason: CancelReason = CancelReason.DELETED,
) -> None:
    """Cancels the run if it has not ended, and waits for its end.

    Raises UnavailableError if no worker ends it in time, or if the process stops first.
    """
    status = await request_cancel(context, thread_id, run_id, reason=reason)
    if status is None or status in TERMINAL:
        return
    reader = await context.hub.open(thread_id, run_id, START)
    try:
        # If its worker is dead, another one claims the run after at most a lease.
        async with asyncio.timeout(context.settings.lease_policy.takeover_within):
            while not reader.ended:
                if not await reader.read():
                    await reader.news.wait()
                if reader.closing:
                    raise UnavailableError("The server is stopping; the run was cancelled.")
    except TimeoutError:
        raise UnavailableError(
            f"Run {run_id} was cancelled, but no worker is running to end it. Try again."
        ) from None
    finally:
        reader.close()


async def delete(context: RequestContext, thread_id: str, run_id: str) -> None:
    """Cancels a run if it has not ended, and deletes it. Raises NotFoundError, UnavailableError."""
    await runs.get_run(context.redis, thread_id, run_id)
    await cancel_and_wait(context, thread_id, run_id)
    await runs.delete_run(context.redis, thread_id, run_id)
