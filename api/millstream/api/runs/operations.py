"""The use cases that read and follow admitted runs. end_operations.py has those that end them."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from millstream.api.auth.permits import Permit, ThreadPermit
from millstream.api.context import RequestContext
from millstream.api.stream_watch import StreamWatch
from millstream.shared import runs, threads
from millstream.shared.access import NO_GUARD, Ask, guard_of
from millstream.shared.errors import NotFoundError
from millstream.shared.events.entries import START, Entry, Position
from millstream.shared.events.reader import Reader
from millstream.shared.metadata_index import contains
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.runs import RunRecord, search
from millstream.shared.runs.explain import explanation_to_json
from millstream.shared.runs.situation import read_situation

RunRefs = list[tuple[str, str]]  # thread ids and run ids


@dataclass(frozen=True, slots=True)
class FollowedRun:
    """A run, and a reader of its events for one client. Close the reader when done."""

    permit: ThreadPermit
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


async def permit_run(
    context: RequestContext,
    ask: Ask,
    thread_id: str,
    run_id: str,
    value: dict[str, Any] | None = None,
) -> ThreadPermit:
    """Returns the permit for a thread, of which the request names a run. Raises NotFoundError for that run."""
    return await context.authorize_thread(
        ask, thread_id, value, missing=lambda: runs.not_found_error(run_id)
    )


async def permit_cancel(
    context: RequestContext, thread_id: str, run_id: str, action: CancelAction
) -> ThreadPermit:
    """Returns the permit to cancel a run. Raises NotFoundError for that run."""
    value = {"action": str(action), "metadata": {"run_ids": [run_id]}}
    return await permit_run(context, "threads.update", thread_id, run_id, value)


async def get(context: RequestContext, thread_id: str, run_id: str) -> RunRecord:
    """Returns a run. Raises NotFoundError."""
    permit = await permit_run(context, "threads.read", thread_id, run_id)
    return await runs.get_run(permit.redis, thread_id, run_id)


async def explain(context: RequestContext, thread_id: str, run_id: str) -> dict[str, Any]:
    """Returns why the run does not move, and its attempts, as JSON. Raises NotFoundError."""
    permit = await permit_run(context, "threads.read", thread_id, run_id)
    situation = await read_situation(permit.redis, thread_id, run_id)
    if situation is None:
        raise runs.not_found_error(run_id)
    return explanation_to_json(situation)


async def find(context: RequestContext, thread_id: str, run_id: str) -> RunRecord | None:
    """Returns a run, or None."""
    with suppress(NotFoundError):
        return await get(context, thread_id, run_id)
    return None


async def list_runs(
    context: RequestContext,
    thread_id: str,
    *,
    limit: int,
    offset: int = 0,
    status: RunStatus | None = None,
) -> list[RunRecord]:
    """Returns runs of a thread, the newest first. Raises NotFoundError if there is no such thread."""
    permit = await context.authorize_thread("threads.read", thread_id)
    await threads.require_thread(permit.redis, thread_id)
    return await runs.list_runs(permit.redis, thread_id, limit=limit, offset=offset, status=status)


async def newest_runs(context: RequestContext, thread_id: str, *, limit: int) -> list[RunRecord]:
    """Returns runs of a thread, the newest first. An unknown thread has no runs."""
    with suppress(NotFoundError):
        permit = await context.authorize_thread("threads.read", thread_id)
        return await runs.list_runs(permit.redis, thread_id, limit=limit, offset=0, status=None)
    return []


async def search_runs(
    context: RequestContext,
    *,
    thread_id: str | None,
    assistant_id: str | None,
    status: RunStatus | None,
    metadata: dict[str, Any],
    limit: int,
    offset: int,
) -> list[RunRecord]:
    """Returns runs that match all arguments, the newest first. Without a thread, only runs that have not ended.

    Raises NotFoundError for a thread that does not exist.
    """
    permit: Permit
    within: dict[str, Any] = {}  # what the threads' metadata must have, as the decider left it
    if thread_id is not None:
        permit = await context.authorize_thread("threads.read", thread_id)
        await threads.require_thread(permit.redis, thread_id)
    else:
        value: dict[str, Any] = {
            "metadata": {},
            "status": None,
            "values": {},
            "limit": limit,
            "offset": offset,
        }
        permit = await context.authorize("threads.search", value)
        within = permit.metadata
    return await search.search(
        permit.redis,
        thread_id=thread_id,
        status=status,
        assistant_id=assistant_id,
        metadata=metadata,
        limit=limit,
        offset=offset,
        keep=lambda run_refs: _allowed(permit, run_refs, within),
    )


async def _allowed(permit: Permit, run_refs: RunRefs, within: dict[str, Any]) -> RunRefs:
    """Returns the runs (thread id, run id) of threads that the permit is for, and whose metadata has `within`."""
    if not within:
        return list(await guards_of(permit, run_refs))
    thread_ids = list(dict.fromkeys(thread_id for thread_id, _ in run_refs))
    judged = await threads.read_many_metadata(permit.redis, thread_ids)
    allowed = {
        thread_id
        for thread_id, each in zip(thread_ids, judged, strict=True)
        if each is not None and permit.allows(each.metadata) and contains(each.metadata, within)
    }
    return [run_ref for run_ref in run_refs if run_ref[0] in allowed]


async def guards_of(permit: Permit, run_refs: RunRefs) -> dict[tuple[str, str], str]:
    """Returns the runs (thread id, run id) of threads that the permit is for, each with its thread's guard."""
    if permit.filter is None:
        return dict.fromkeys(run_refs, NO_GUARD)
    thread_ids = list(dict.fromkeys(thread_id for thread_id, _ in run_refs))
    judged = await threads.read_many_metadata(permit.redis, thread_ids)
    guards = {
        thread_id: guard_of(each.stored)
        for thread_id, each in zip(thread_ids, judged, strict=True)
        if each is not None and permit.allows(each.metadata)
    }
    return {ref: guards[ref[0]] for ref in run_refs if ref[0] in guards}


async def join(
    context: RequestContext,
    thread_id: str,
    run_id: str,
    after: Position | None,
    *,
    cancels: bool = False,
) -> FollowedRun:
    """Follows a run after a position. None: from the next event, or for an ended run from its first stored one.

    The client counts as joined once its reader has a cursor, so not if Redis is unavailable. `cancels` is whether the
    run is cancelled when the client leaves, for which the caller needs the right too. Raises NotFoundError.
    """
    permit = await permit_run(context, "threads.read", thread_id, run_id)
    if cancels:
        permit = await permit_cancel(context, thread_id, run_id, CancelAction.INTERRUPT)
    record = await runs.get_run(permit.redis, thread_id, run_id)
    context.limits.hold_stream()
    reader = await permit.hub.open(thread_id, run_id, after)
    try:
        begins = await reader.begin()
        number = await runs.note_joined(permit.redis, thread_id, run_id)
    except BaseException:
        reader.close()
        raise
    watch = StreamWatch(context.observer, thread_id, run_id, resumed=after not in (None, START))
    return FollowedRun(permit, record, reader, watch, begins, number)


async def follow(context: RequestContext, record: RunRecord, after: Position | None) -> FollowedRun:
    """Follows a run after a position, or with None from the next event.

    The client does not count as joined.
    """
    thread_id, run_id = record.spec.thread_id, record.spec.run_id
    permit = await permit_run(context, "threads.read", thread_id, run_id)
    context.limits.hold_stream()
    reader = await permit.hub.open(thread_id, run_id, after)
    return FollowedRun(permit, record, reader, StreamWatch(context.observer, thread_id, run_id))


async def stored_entries(
    context: RequestContext, thread_id: str, run_id: str
) -> AsyncIterator[Entry]:
    """Yields all stored events of the run."""
    permit = await permit_run(context, "threads.read", thread_id, run_id)
    async for entry in permit.hub.read_stored(thread_id, run_id):
        yield entry


async def stored_output(context: RequestContext, record: RunRecord) -> bytes:
    """Returns the final state of an ended run as JSON."""
    thread_id, run_id = record.spec.thread_id, record.spec.run_id
    permit = await permit_run(context, "threads.read", thread_id, run_id)
    end = await permit.hub.newest_entry(thread_id, run_id)
    output = None if end is None else end.output
    return await runs.final_output(permit.redis, thread_id, run_id, output)


async def final_output(followed: FollowedRun, end: Entry | None) -> bytes:
    """Returns the run's final state as JSON. `end` is the run's last event, if it is stored."""
    output = None if end is None else end.output
    return await runs.final_output(
        followed.permit.redis, followed.thread_id, followed.run_id, output
    )
