"""Crons: creating, reading, searching, changing, deleting and firing them.

One sorted set has the due times of all crons, by the clock of Redis. Workers fire the crons that are due
(worker/maintenance/crons.py).
"""

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from millstream.shared import keys, logs, runs, scripts
from millstream.shared.access import Authorizer
from millstream.shared.assistants import GraphDirectory
from millstream.shared.errors import (
    AccessError,
    ConflictError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from millstream.shared.metadata_index import contains
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.queue import redis_time
from millstream.shared.redis import OUTAGE_ERRORS, Client
from millstream.shared.rules.cron_schedule import next_due
from millstream.shared.rules.fair_shares import AdmissionLimits
from millstream.shared.runs.authorization import as_creator
from millstream.shared.runs.submission import submission
from millstream.shared.sealing import KeyRing, key_ring_of
from millstream.shared.sealing.locations import of_cron
from millstream.shared.sealing.structs import pack_request, unpack_sealed_request
from millstream.shared.tracing.tracer import UNTRACED, RunTracer
from millstream.shared.wire import Cron, RunRequest, pack, unpack_cron, unpack_request

log = logging.getLogger(__name__)

PAGE: Final = 500  # crons read in one round trip
TRIES: Final = 10  # to change a cron that other clients change at the same time
LATE_SECONDS: Final = 60.0  # after its end in which a cron still fires a due time before the end
RETRY_MS: Final = 60_000  # until the next try to fire a cron that failed to fire
DISABLED_BECAUSE: Final = "disabled_because"  # in the metadata of a cron that `fire_due` disabled
FIELDS: Final = ("cron", "payload", "version", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class CronRecord:
    """A cron's record and due time."""

    cron: Cron
    payload: bytes  # JSON; b"" if not requested
    version: int
    created_at: int  # µs
    updated_at: int  # µs
    due_ms: int | None
    read_at: float  # s, Redis time

    @property
    def enabled(self) -> bool:
        """Whether it may fire: it was not disabled, and its end is in the future."""
        return self.cron.enabled and not self.is_over

    @property
    def next_ms(self) -> int | None:
        """When it is due next (ms); None for never."""
        return self.due_ms if self.enabled else None

    @property
    def is_over(self) -> bool:
        """Whether its end has passed."""
        return self.cron.end_time is not None and self.cron.end_time / 1e6 < self.read_at


@dataclass(frozen=True, slots=True)
class CronFilter:
    """Conditions that a cron must all meet; None for any value."""

    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata: dict[str, Any] | None = None

    def matches(self, record: CronRecord) -> bool:
        """Returns whether the cron meets all conditions."""
        cron = record.cron
        if self.assistant_id not in (None, cron.assistant_id):
            return False
        if self.thread_id not in (None, cron.thread_id) or self.enabled not in (
            None,
            record.enabled,
        ):
            return False
        if not self.metadata:
            return True
        return contains(msgspec.json.decode(cron.metadata), self.metadata)


def due_after(cron: Cron, now: float) -> int | None:
    """Returns when the cron is due next (ms) after `now` (s); None for never."""
    if not cron.enabled:
        return None
    until = None if cron.end_time is None else cron.end_time / 1e6
    return next_due(cron.schedule, cron.timezone, after=now, until=until)


# ── Creating, changing, deleting ───────────────────────────────────────────────────────────────


async def create(
    redis: Client, cron: Cron, payload: bytes, request: RunRequest, *, guard: str = ""
) -> CronRecord:
    """Writes a cron; raises NotFoundError if its thread does not exist.

    `guard` is of the metadata of its thread by which the caller's rights were judged. Raises RightsChangedError if the
    thread has other metadata.
    """
    due_ms = due_after(cron, await redis_time(redis))
    await scripts.create_cron(
        redis, cron, due_ms=due_ms, guard=guard, **_pack(redis, cron, payload, request)
    )
    return await get(redis, cron.cron_id)


async def change(
    redis: Client, record: CronRecord, cron: Cron, payload: bytes, request: RunRequest
) -> bool:
    """Replaces the cron that was read; returns False if it was changed meanwhile.

    The due time is computed again if the schedule, the time zone, the end or `enabled` changes.
    """
    old = record.cron
    due_ms: int | Literal["kept"] | None = "kept"
    if (cron.schedule, cron.timezone, cron.end_time, cron.enabled) != (
        old.schedule,
        old.timezone,
        old.end_time,
        old.enabled,
    ):
        due_ms = due_after(cron, await redis_time(redis))
    fields = _pack(redis, cron, payload, request)
    status = await scripts.update_cron(redis, cron, record.version, due_ms=due_ms, fields=fields)
    if status == "missing":
        raise not_found_error(cron.cron_id)
    return status == "updated"


async def delete(redis: Client, cron_id: str, version: int | None = None) -> None:
    """Deletes the cron; raises NotFoundError, and RightsChangedError if it has another version than the given one."""
    record = await get(redis, cron_id)
    if not await scripts.delete_cron(redis, cron_id, record.cron.thread_id, version=version):
        raise not_found_error(cron_id)


def not_found_error(cron_id: str) -> NotFoundError:
    """Returns the error for a cron that does not exist."""
    return NotFoundError(f"Cron with ID {cron_id} not found")


def changed_too_often_error(cron_id: str) -> ConflictError:
    """Returns the error for a cron that other clients keep changing."""
    return ConflictError(f"Cron {cron_id} is being changed by others. Try again.")


def _pack(redis: Client, cron: Cron, payload: bytes, request: RunRequest) -> dict[str, bytes]:
    """Returns payload and request as they are stored; raises InvalidError if a worker could not read the request."""
    key_ring = key_ring_of(redis)
    try:
        unpack_request(pack(request))
        packed = pack_request(key_ring, cron.cron_id, request)
    except (RecursionError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidError(f"payload: it can't be stored: {error}") from None
    return {"payload": key_ring.seal(of_cron(cron.cron_id, "payload"), payload), "request": packed}


# ── Reading ────────────────────────────────────────────────────────────────────────────────────


async def get(redis: Client, cron_id: str) -> CronRecord:
    """Returns the cron; raises NotFoundError."""
    for record in await _read(redis, [cron_id]):
        return record
    raise not_found_error(cron_id)


async def get_creator(redis: Client, cron_id: str) -> bytes:
    """Returns the user for which the cron's runs are executed, as `RunRequest.user` has it; raises NotFoundError."""
    packed = await redis.hget(keys.cron(cron_id), "request")  # type: ignore[misc]
    if packed is None:
        raise not_found_error(cron_id)
    return unpack_sealed_request(key_ring_of(redis), cron_id, packed).user


async def find(redis: Client, criteria: CronFilter) -> list[CronRecord]:
    """Returns all matching crons, without payloads and unsorted."""
    records: list[CronRecord] = []
    async for ids in _ids(redis, criteria.thread_id):
        records += filter(criteria.matches, await _read(redis, ids, with_payload=False))
    return records


async def read_payloads(redis: Client, records: Iterable[CronRecord]) -> list[CronRecord]:
    """Returns the crons with their payloads, without those that were deleted meanwhile."""
    return await _read(redis, [record.cron.cron_id for record in records])


async def _ids(redis: Client, thread_id: str | None) -> AsyncIterator[list[str]]:
    """Yields the ids of all crons, or of a thread's crons, in parts and each once."""
    if thread_id is not None:
        yield [c.decode() for c in await redis.smembers(keys.crons_of(thread_id))]  # type: ignore[misc]
        return
    # In one command: between two pages crons would change their ranks.
    members = await redis.zrange(keys.crons(), 0, -1)
    ids = [cron_id.decode(errors="replace") for cron_id in members]
    for start in range(0, len(ids), PAGE):
        yield ids[start : start + PAGE]


async def _read(
    redis: Client, cron_ids: Sequence[str], *, with_payload: bool = True
) -> list[CronRecord]:
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    fields = [name for name in FIELDS if with_payload or name != "payload"]
    for cron_id in cron_ids:
        pipe.hmget(keys.cron(cron_id), fields)
        pipe.zscore(keys.crons(), cron_id)
    (seconds, micros), *replies = await pipe.execute()
    records = []
    for cron_id, reply, score in zip(cron_ids, replies[::2], replies[1::2], strict=True):
        values = dict(zip(fields, reply, strict=True))
        try:
            if values["cron"] is not None:
                records.append(_parse(key_ring_of(redis), values, score, seconds + micros / 1e6))
        except (msgspec.MsgspecError, TypeError, ValueError):
            log.exception("cron %s can't be read and is left out", cron_id)
    return records


def _parse(
    key_ring: KeyRing, values: dict[str, bytes], score: float | None, now: float
) -> CronRecord:
    cron = unpack_cron(values["cron"])
    return CronRecord(
        cron=cron,
        payload=key_ring.open(of_cron(cron.cron_id, "payload"), values.get("payload") or b""),
        version=int(values["version"]),
        created_at=int(values["created_at"]),
        updated_at=int(values["updated_at"]),
        due_ms=None if score is None or score == float("inf") else int(score),
        read_at=now,
    )


# ── Firing ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class CronContext:
    """What `fire_due` needs beside the crons."""

    redis: Client
    directory: GraphDirectory
    limits: AdmissionLimits
    stream_ttl: int  # s
    tracer: RunTracer = UNTRACED
    observer: RunObserver = UNOBSERVED
    authorizer: Authorizer | None = (
        None  # decides for the creators of crons; None: none may fire theirs
    )


async def fire_due(context: CronContext, *, limit: int, at_once: int) -> Counter[str]:
    """Fires at most `limit` crons that are due, those with the earliest due time first.

    A cron that has missed several due times gets one run for them, and its next due time is after now.

    Returns the number of crons by status: those of fire_cron.lua, 'over', 'denied', 'disabled' and 'failed'.
    """
    redis = context.redis
    now = await redis_time(redis)
    due = await redis.zrangebyscore(
        keys.crons(), "-inf", now * 1000, start=0, num=limit, withscores=True
    )
    counts: Counter[str] = Counter()
    for start in range(0, len(due), at_once):
        batch = due[start : start + at_once]
        statuses = await asyncio.gather(
            *(_fire(context, member, score, now) for member, score in batch)
        )
        counts.update(statuses)
        if counts["full"]:
            break  # the other crons could not be fired either
    return counts


async def _fire(context: CronContext, member: bytes, due_ms: float, now: float) -> str:
    cron_id = member.decode(errors="replace")
    logs.begin(cron_id=cron_id)  # in this task alone: each cron has its own
    try:
        record = await context.redis.hmget(keys.cron(cron_id), ["cron", "request", "version"])  # type: ignore[misc]
        if record[0] is None:
            if await context.redis.zrem(keys.crons(), member):  # 0: the cron was deleted just now
                log.error("cron %r has no record; it is removed", member)
            return "missing"
        return await _fire_read(context, unpack_cron(record[0]), record, due_ms, now)
    except OUTAGE_ERRORS:
        raise
    except UnavailableError as error:  # a worker may serve its graph again
        log.warning("cron %s is postponed: %s", cron_id, error)
        await context.redis.zadd(keys.crons(), {member: now * 1000 + RETRY_MS}, xx=True, gt=True)
        return "failed"
    except Exception:  # must not delay the other crons
        log.exception("cron %r failed to fire and is postponed", member)
        await context.redis.zadd(keys.crons(), {member: now * 1000 + RETRY_MS}, xx=True, gt=True)
        return "failed"


async def _fire_read(
    context: CronContext, cron: Cron, record: list[bytes], due_ms: float, now: float
) -> str:
    version = int(record[2])
    if not cron.enabled or (cron.end_time is not None and cron.end_time / 1e6 + LATE_SECONDS < now):
        await scripts.update_cron(context.redis, cron, version, due_ms=None, fields={})
        return "over"
    run_id = str(uuid.uuid4())
    thread_id = cron.thread_id or runs.stateless_thread_id(run_id)
    try:
        request = unpack_sealed_request(key_ring_of(context.redis), cron.cron_id, record[1])
        resolved = await context.directory.resolve(request.assistant_id)
        project = await context.directory.project()
        submitted = submission(
            request,
            resolved,
            project,
            run_id=run_id,
            thread_id=thread_id,
            cron_id=cron.cron_id,
        )
        submitted = await as_creator(context.redis, context.authorizer, request, submitted)
    except (
        AccessError
    ) as error:  # as its creator's rights are now; they may be others at the next due time
        log.warning(
            "cron %s: its creator may not run it, this due time is skipped: %s", cron.cron_id, error
        )
        next_due_ms = due_after(cron, now)
        await scripts.update_cron(context.redis, cron, version, due_ms=next_due_ms, fields={})
        return "denied"
    except (NotFoundError, InvalidError, msgspec.MsgspecError, RecursionError) as error:
        await _disable(context.redis, cron, version, str(error))
        return "disabled"
    logs.bind_run(submitted.spec)
    with context.tracer.firing(submitted.spec) as (spec, span):
        status, displaced = await scripts.fire_cron(
            context.redis,
            cron,
            version,
            due_ms=due_ms,
            next_ms=due_after(cron, now),
            spec=spec,
            new_thread=submitted.new_thread,
            limits=context.limits,
            stream_ttl=context.stream_ttl,
            guard=submitted.guard,
        )
        span.set("millstream.cron.id", cron.cron_id)
        span.set("millstream.cron.result", status)  # only `admitted` has a run
    if status == "admitted":
        context.observer.admitted(spec, 0)
    await runs.end_displaced(context.redis, thread_id, displaced, stream_ttl=context.stream_ttl)
    if status == "identity_full":
        raise UnavailableError("its user has MAX_RUNS_PER_USER pending and running runs")
    if status == "busy":
        log.info("cron %s: thread %s is busy, this due time is skipped", cron.cron_id, thread_id)
    return status


async def _disable(redis: Client, cron: Cron, version: int, reason: str) -> None:
    """Disables a cron from which no run can be created, and stores the reason in its metadata."""
    log.warning("cron %s is disabled: %s", cron.cron_id, reason)
    metadata = msgspec.json.decode(cron.metadata) | {DISABLED_BECAUSE: reason}
    changed = msgspec.structs.replace(cron, enabled=False, metadata=msgspec.json.encode(metadata))
    await scripts.update_cron(redis, changed, version, due_ms=None, fields={})
