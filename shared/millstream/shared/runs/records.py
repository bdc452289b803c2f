"""The records of runs: submitting, reading, listing, cancelling and deleting them."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millstream.shared import keys, scripts
from millstream.shared.errors import MillstreamError, NotFoundError, SealedError
from millstream.shared.events.entries import unreadable_output
from millstream.shared.list_size import MAX_PAGE_BYTES, check_page
from millstream.shared.redis import OUTAGE_ERRORS, Client
from millstream.shared.rules.fair_shares import NO_LIMITS, AdmissionLimits
from millstream.shared.rules.lifecycle import Cause, RunStatus
from millstream.shared.rules.multitask import CancelAction, CancelReason
from millstream.shared.scripts.runs.admit import MAX_ENDED
from millstream.shared.sealing import KeyRing, key_ring_of
from millstream.shared.sealing.fields import open_thread_field
from millstream.shared.sealing.locations import of_run
from millstream.shared.sealing.structs import unpack_sealed_spec
from millstream.shared.wire import RunSpec

log = logging.getLogger(__name__)

# The thread id of a stateless run is derived from the run's id, so that a run is found by its id alone.
STATELESS: Final = uuid.UUID("5a3e5d0e-3f0c-5d4e-8a52-0d9d7c6b1f10")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's record. Times are µs since the epoch."""

    spec: RunSpec
    status: RunStatus
    attempt: int
    created_at: int
    updated_at: int
    cancel_reason: str | None = None  # of a run with a requested cancel (CancelReason)


def stateless_thread_id(run_id: str) -> str:
    """Returns the id of the thread of a stateless run."""
    return str(uuid.uuid5(STATELESS, run_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A run to admit."""

    spec: RunSpec
    delay_ms: int = 0
    new_thread: dict[str, object] | None = None  # None: the thread must exist
    answers: bytes | None = None  # JSON of the interrupts that the thread must still wait for
    guard: str = ""  # of the metadata by which the caller's rights were judged (parts/guard.lua)


async def submit(
    redis: Client, submission: Submission, *, stream_ttl: int, limits: AdmissionLimits = NO_LIMITS
) -> RunRecord:
    """Admits the run and returns its record; raises what `scripts.admit` raises."""
    spec = submission.spec
    now, displaced = await scripts.admit(
        redis,
        spec,
        delay_ms=submission.delay_ms,
        new_thread=submission.new_thread,
        stream_ttl=stream_ttl,
        limits=limits,
        answers=submission.answers,
        guard=submission.guard,
    )
    await end_displaced(redis, spec.thread_id, displaced, stream_ttl=stream_ttl)
    return RunRecord(spec, RunStatus.PENDING, 0, now, now)


PAGE: Final = 500  # runs whose status is read in one round trip
FIELDS: Final = ["spec", "status", "attempt", "created_at", "updated_at", "reason"]


def _parse(key_ring: KeyRing, values: list[bytes | None]) -> RunRecord | None:
    spec, status, attempt, created_at, updated_at, reason = values
    if spec is None or status is None:
        return None
    return RunRecord(
        unpack_sealed_spec(key_ring, spec),
        RunStatus(status.decode()),
        int(attempt or 0),
        int(created_at or 0),
        int(updated_at or 0),
        reason.decode() if reason else None,
    )


async def find_run(redis: Client, thread_id: str, run_id: str) -> RunRecord | None:
    """Returns the record of a run; None if the run does not exist."""
    values = await redis.hmget(keys.run(thread_id, run_id), FIELDS)  # type: ignore[misc]
    return _parse(key_ring_of(redis), values)


async def get_run(redis: Client, thread_id: str, run_id: str) -> RunRecord:
    """Returns the record of a run; raises NotFoundError."""
    record = await find_run(redis, thread_id, run_id)
    if record is None:
        raise not_found_error(run_id)
    return record


def not_found_error(run_id: str) -> NotFoundError:
    """Returns the error for a run that does not exist."""
    return NotFoundError(f"Run with ID {run_id} not found")


async def list_runs(
    redis: Client, thread_id: str, *, limit: int, offset: int, status: RunStatus | None
) -> list[RunRecord]:
    """Returns the thread's runs, newest first; `status` is applied before limit and offset.

    Raises TooLargeError if the requests that created them exceed `MAX_PAGE_BYTES`.
    """
    key = keys.runs(thread_id)
    if status is None:
        ids = await redis.zrevrange(key, offset, offset + limit - 1)
    else:
        ids = await _of_status(redis, thread_id, status, limit=offset + limit)
        ids = ids[offset:]
    pairs = [(thread_id, run_id.decode()) for run_id in ids]
    if len(pairs) > 1:  # the limit of requests bounds a single run
        await check_page(
            redis,
            [keys.run(*pair) for pair in pairs],
            ["spec"],
            max_bytes=MAX_PAGE_BYTES,
            remedy="request fewer runs with `limit`.",
        )
    records = await find_runs(redis, pairs)
    return [record for record in records if status in (None, record.status)]


async def find_runs(redis: Client, ids: Sequence[tuple[str, str]]) -> list[RunRecord]:
    """Returns the records of the runs (thread id, run id) that exist."""
    pipe = redis.pipeline(transaction=False)
    for thread_id, run_id in ids:
        pipe.hmget(keys.run(thread_id, run_id), FIELDS)
    key_ring = key_ring_of(redis)
    records = [_parse(key_ring, values) for values in await pipe.execute()]
    return [record for record in records if record is not None]


async def _of_status(
    redis: Client, thread_id: str, status: RunStatus, *, limit: int
) -> list[bytes]:
    """Returns the ids of at most `limit` runs that have a status, newest first. It reads only statuses."""
    matches: list[bytes] = []
    start = 0
    while len(matches) < limit:
        ids = await redis.zrevrange(keys.runs(thread_id), start, start + PAGE - 1)
        if not ids:
            break
        pipe = redis.pipeline(transaction=False)
        for run_id in ids:
            pipe.hget(keys.run(thread_id, run_id.decode()), "status")
        statuses = await pipe.execute()
        matches += [i for i, each in zip(ids, statuses, strict=True) if each == status.encode()]
        start += len(ids)
    return matches[:limit]


async def cancel(
    redis: Client,
    thread_id: str,
    run_id: str,
    *,
    action: CancelAction,
    stream_ttl: int,
    reason: CancelReason = CancelReason.EXPLICIT,
    joined: int | None = None,
    guard: str = "",
) -> RunStatus | None:
    """Cancels a run. A run that no worker holds has ended when this returns.

    A worker that holds the run ends it, or the worker that claims it next.

    Args:
        joined: the number of a client that left (see `note_joined`; 0 for the run's creator). If a client has
            joined since, the run is not cancelled.
        guard: of the metadata by which the caller's rights were judged (parts/guard.lua).

    Raises RightsChangedError if that has changed. Returns the status before the cancel; None if the run does not exist,
    or a client has joined since.
    """
    status = await scripts.cancel(
        redis, thread_id, run_id, action, reason=reason, joined=joined, guard=guard
    )
    if status is RunStatus.PENDING:
        await _end_if_pending(redis, thread_id, run_id, stream_ttl=stream_ttl)
    return status


async def end_displaced(
    redis: Client, thread_id: str, run_refs: list[bytes], *, stream_ttl: int
) -> None:
    """Ends the displaced runs that an admission left to its caller, in batches.

    The run is admitted whatever happens here, so an outage is not reported to the client: no claim takes the
    displaced runs, and the reaper ends them.
    """
    try:
        for start in range(0, len(run_refs), MAX_ENDED):
            batch = run_refs[start : start + MAX_ENDED]
            await scripts.end_displaced(redis, thread_id, batch, stream_ttl=stream_ttl)
    except OUTAGE_ERRORS as error:
        log.warning("displaced runs of thread %s are left to the reaper: %s", thread_id, error)


async def note_joined(redis: Client, thread_id: str, run_id: str) -> int:
    """Counts a client that joins the run; returns its number, from 1 on."""
    return await scripts.note_joined(redis, thread_id, run_id)


async def _end_if_pending(redis: Client, thread_id: str, run_id: str, *, stream_ttl: int) -> None:
    """Ends a cancelled run that no worker holds; a worker that holds it ends it itself."""
    record = await find_run(redis, thread_id, run_id)
    if record is not None and record.status is RunStatus.PENDING:
        await scripts.finish(redis, record.spec, Cause.CANCELLED, fence=None, stream_ttl=stream_ttl)


async def live_runs(redis: Client) -> list[tuple[str, str, RunStatus]]:
    """Returns every run that has not ended: thread id, run id, status."""
    members = await redis.smembers(keys.live())  # type: ignore[misc]
    ids = [keys.parse_job_id(job) for job in map(keys.decode_job_id, members) if job is not None]
    pipe = redis.pipeline(transaction=False)
    for thread_id, run_id in ids:
        pipe.hget(keys.run(thread_id, run_id), "status")
    return [
        (thread_id, run_id, RunStatus(status.decode()))
        for (thread_id, run_id), status in zip(ids, await pipe.execute(), strict=True)
        if status is not None
    ]


async def cancel_action(redis: Client, thread_id: str, run_id: str) -> CancelAction | None:
    """Returns the action of the run's cancel; the first cancel decides and can't be withdrawn."""
    action = await redis.hget(keys.run(thread_id, run_id), "cancel")  # type: ignore[misc]
    return CancelAction(action.decode()) if action else None


async def final_output(redis: Client, thread_id: str, run_id: str, output: bytes | None) -> bytes:
    """Returns the JSON response of wait and join for a run that has ended.

    `output` is that of the `end` event. If the event has none (the run was cancelled before it had a state) or has
    expired, the response is the error on the record, or the thread's state in the graph's output schema.
    """
    if output:
        return output
    try:
        return await _stored_output(redis, thread_id, run_id)
    except SealedError as error:  # the status of the response is sent already
        return unreadable_output(error)


async def _stored_output(redis: Client, thread_id: str, run_id: str) -> bytes:
    """Returns the response from the records of the run and of its thread; raises SealedError."""
    key_ring = key_ring_of(redis)
    error = await redis.hget(keys.run(thread_id, run_id), "error")  # type: ignore[misc]
    record = await find_run(redis, thread_id, run_id)
    if error and record is not None and record.status in (RunStatus.ERROR, RunStatus.TIMEOUT):
        return b'{"__error__":' + key_ring.open(of_run(thread_id, run_id, "error"), error) + b"}"
    output, values = await redis.hmget(keys.thread(thread_id), ["output", "values"])  # type: ignore[misc]
    if output:
        return open_thread_field(key_ring, thread_id, "output", output)
    return open_thread_field(key_ring, thread_id, "values", values or b"{}")


async def delete_run(redis: Client, thread_id: str, run_id: str, guard: str = "") -> None:
    """Deletes an ended run.

    Raises:
        NotFoundError: the run does not exist.
        RightsChangedError: the thread's metadata is not the one that `guard` is of.
        MillstreamError: it has not ended.
    """
    status = await scripts.delete_run(redis, thread_id, run_id, guard)
    if status == "missing":
        raise not_found_error(run_id)
    if status != "deleted":
        raise MillstreamError(f"Run {run_id} has not ended: it is {status}")
