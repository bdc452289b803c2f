"""The use cases that end runs: cancel, delete."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from millstream.api.auth.permits import Permit, ThreadPermit, rejudged
from millstream.api.context import RequestContext
from millstream.api.runs.operations import FollowedRun, guards_of, permit_cancel, permit_run
from millstream.api.stream_watch import StreamWatch
from millstream.shared import runs
from millstream.shared.access import NO_GUARD
from millstream.shared.errors import NotFoundError, RightsChangedError, UnavailableError
from millstream.shared.events.entries import START
from millstream.shared.events.reader import Reader
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason

OnLeave = Callable[[], Awaitable[None]]


@rejudged
async def cancel(
    context: RequestContext, thread_id: str, run_id: str, action: CancelAction
) -> None:
    """Cancels a run without waiting for its end. Raises NotFoundError if there is nothing to cancel."""
    try:
        permit = await permit_cancel(context, thread_id, run_id, action)
    except NotFoundError:
        raise _nothing_to_cancel() from None
    status = await request_cancel(permit, thread_id, run_id, action=action, guard=permit.guard)
    if status is None:
        raise _nothing_to_cancel()
    if status in TERMINAL:
        raise NotFoundError(
            f"No matching runs to cancel. Run {run_id} has ended: its status is {status}."
        )


async def cancel_and_follow(
    context: RequestContext, thread_id: str, run_id: str, action: CancelAction
) -> tuple[Reader, StreamWatch]:
    """Cancels a run and follows it to its end. Raises what `cancel` raises."""
    permit = await permit_run(context, "threads.read", thread_id, run_id)
    context.limits.hold_stream()
    reader = await permit.hub.open(thread_id, run_id, START)
    try:
        await cancel(context, thread_id, run_id, action)
    except BaseException:
        reader.close()
        raise
    return reader, StreamWatch(context.observer, thread_id, run_id)


async def cancel_runs(
    context: RequestContext, thread_id: str, run_ids: Sequence[str], action: CancelAction
) -> None:
    """Cancels runs of a thread. Raises NotFoundError if all of them have ended."""
    value = {"action": str(action), "metadata": {"run_ids": list(run_ids)}}
    permit = await context.authorize_thread(
        "threads.update", thread_id, value, missing=_nothing_to_cancel
    )
    guards = {(thread_id, run_id): permit.guard for run_id in run_ids}
    await _cancel_many(permit, guards, action)


async def cancel_live(
    context: RequestContext, status: RunStatus | None, action: CancelAction
) -> None:
    """Cancels all runs of the caller with a status, pending or running, or with both.

    Raises NotFoundError if there are none.
    """
    value = {"thread_id": None, "action": str(action), "metadata": {"status": status or "all"}}
    permit = await context.authorize("threads.update", value)
    run_refs = [
        (thread_id, run_id)
        for thread_id, run_id, current in await runs.live_runs(permit.redis)
        if status in (None, current)
    ]
    await _cancel_many(permit, await guards_of(permit, run_refs), action)


async def _cancel_many(
    permit: Permit, guards: dict[tuple[str, str], str], action: CancelAction
) -> None:
    statuses = []
    for (thread_id, run_id), guard in guards.items():
        with suppress(RightsChangedError):  # it became another's meanwhile
            statuses.append(
                await request_cancel(permit, thread_id, run_id, action=action, guard=guard)
            )
    if not any(status is not None and status not in TERMINAL for status in statuses):
        raise _nothing_to_cancel()


def _nothing_to_cancel() -> NotFoundError:
    return NotFoundError("No runs found to cancel.")


async def request_cancel(
    permit: Permit,
    thread_id: str,
    run_id: str,
    *,
    action: CancelAction = CancelAction.INTERRUPT,
    reason: CancelReason = CancelReason.EXPLICIT,
    joined: int | None = None,
    guard: str = NO_GUARD,
) -> RunStatus | None:
    """Requests the cancel of a run. Returns its status before, or None for an unknown run.

    `joined` is the number of a client that left. There is no effect if another client has joined since. Raises
    RightsChangedError if the thread's metadata is not the one that `guard` is of.
    """
    return await runs.cancel(
        permit.redis,
        thread_id,
        run_id,
        action=action,
        stream_ttl=permit.process.settings.stream_ttl,
        reason=reason,
        joined=joined,
        guard=guard,
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
            followed.permit,
            followed.thread_id,
            followed.run_id,
            reason=CancelReason.DISCONNECT,
            joined=followed.number if grace else None,
        )

    return cancel_run


@rejudged
async def cancel_to_end(context: RequestContext, thread_id: str, run_id: str) -> None:
    """Cancels the run if it has not ended, and waits for its end. Raises what `cancel_and_wait` raises."""
    permit = await permit_cancel(context, thread_id, run_id, CancelAction.INTERRUPT)
    await cancel_and_wait(permit, thread_id, run_id, reason=CancelReason.EXPLICIT)


async def cancel_and_wait(
    permit: ThreadPermit,
    thread_id: str,
    run_id: str,
    *,
    reason: CancelReason = CancelReason.DELETED,
) -> None:
    """Cancels the run if it has not ended, and waits for its end.

    Raises UnavailableError if no worker ends it in time, or if the process stops first, and what `request_cancel`
    raises.
    """
    status = await request_cancel(permit, thread_id, run_id, reason=reason, guard=permit.guard)
    if status is None or status in TERMINAL:
        return
    reader = await permit.hub.open(thread_id, run_id, START)
    try:
        # If its worker is dead, another one claims the run after at most a lease.
        async with asyncio.timeout(permit.process.settings.lease_policy.takeover_within):
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


@rejudged
async def delete(context: RequestContext, thread_id: str, run_id: str) -> None:
    """Cancels a run if it has not ended, and deletes it. Raises NotFoundError, UnavailableError."""
    permit = await permit_run(context, "threads.delete", thread_id, run_id, {"run_id": run_id})
    await runs.get_run(permit.redis, thread_id, run_id)
    await cancel_and_wait(permit, thread_id, run_id)
    await runs.delete_run(permit.redis, thread_id, run_id, permit.guard)
