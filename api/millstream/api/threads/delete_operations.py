"""The use cases that delete threads, or their checkpoints."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal

from millstream.api import worker_calls
from millstream.api.auth.permits import Permit, ThreadPermit, judge_thread, rejudged
from millstream.api.context import RequestContext
from millstream.api.runs import end_operations as runs
from millstream.api.threads.operations import external_graph
from millstream.shared import scripts, threads
from millstream.shared.errors import (
    ConflictError,
    NotFoundError,
    RightsChangedError,
    UnavailableError,
)
from millstream.shared.rules.multitask import CancelReason

PAUSE: Final = 0.1  # s between attempts to delete a thread


async def prune(
    context: RequestContext, thread_ids: Sequence[str], strategy: Literal["delete", "keep_latest"]
) -> int:
    """Deletes threads, or all their checkpoints but the newest. Returns the number of threads that it pruned.

    Ignores ids of no thread of the caller's. Raises ConflictError, with nothing changed, while a run is active on one.
    """
    value = {"thread_ids": list(dict.fromkeys(thread_ids))}
    permit = await context.authorize("threads.delete", value)
    permits = await _permits_to_prune(permit, thread_ids)
    busy = await threads.find_busy(permit.redis, [each.thread_id for each in permits])
    if busy:
        raise ConflictError(f"thread_ids: a run is active on {', '.join(busy[:10])}")
    pruned = 0
    for each in permits:
        with suppress(RightsChangedError):  # it became another's meanwhile
            pruned += await _prune(context, each, strategy)
    return pruned


async def _permits_to_prune(permit: Permit, thread_ids: Sequence[str]) -> list[ThreadPermit]:
    """Returns a permit for each thread that the decider left in the list, and that the filter matches."""
    left = permit.value.get("thread_ids")
    left = set(left) if isinstance(left, list) else set()
    permits = []
    for thread_id in dict.fromkeys(thread_ids):
        if thread_id in left:
            with suppress(NotFoundError):
                permits.append(await judge_thread(permit, thread_id))
    return permits


async def _prune(
    context: RequestContext, permit: ThreadPermit, strategy: Literal["delete", "keep_latest"]
) -> bool:
    graph_id = None
    if strategy == "keep_latest":
        with suppress(NotFoundError):
            graph_id = await external_graph(context, permit)
    if graph_id is not None:
        arguments = {"thread_id": permit.thread_id}
        await worker_calls.call_graph(context, permit, graph_id, "prune", arguments)
    return await threads.prune(permit.redis, permit.thread_id, strategy, permit.guard)


@rejudged
async def delete(context: RequestContext, thread_id: str) -> None:
    """Cancels the thread's runs and deletes the thread with all its data.

    Raises:
        NotFoundError: there is no such thread.
        UnavailableError: its runs do not end; it is deleted once they have.
    """
    permit = await context.authorize_thread("threads.delete", thread_id)
    retired = False
    deadline = time.monotonic() + context.settings.lease_policy.takeover_within
    while True:
        try:
            run_ids = await threads.retire_thread(permit.redis, thread_id, permit.guard)
        except NotFoundError:
            if retired:  # the reaper has completed the deletion
                return
            raise
        retired = True
        for run_id in reversed(run_ids):  # pending runs first, so that they never start
            await runs.request_cancel(permit, thread_id, run_id, reason=CancelReason.DELETED)
        for run_id in run_ids:
            await runs.cancel_and_wait(permit, thread_id, run_id)
        if await threads.delete_thread(permit.redis, thread_id):
            return
        # A run was admitted meanwhile, or the thread waits for a run that does not exist.
        await scripts.repair_thread(permit.redis, thread_id)
        if time.monotonic() > deadline:
            raise UnavailableError("The thread's runs do not end; it is deleted once they have.")
        await asyncio.sleep(PAUSE)
