"""Crons: created, read, found, changed, deleted, and fired when they are due.

Their order of the day is one sorted set; what is due is looked for by the clock of Redis. Workers
fire them (worker/maintenance/crons.py).
"""

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from millstream.shared import keys, runs, scripts
from millstream.shared.assistants import GraphDirectory
from millstream.shared.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from millstream.shared.metadata_index import contains
from millstream.shared.queue import redis_time
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED, Client
from millstream.shared.rules.cron_schedule import next_due
from millstream.shared.runs.submission import submission
from millstream.shared.wire import Cron, RunRequest, pack, unpack_cron, unpack_request

log = logging.getLogger(__name__)

PAGE: Final = 500  # crons read in one round trip
TRIES: Final = 10  # to change a cron that others change
LATE: Final = 60.0  # s after its end in which a cron may still fire what was due before
PUT_OFF: Final = 60_000  # ms after which a cron is looked at again that could not be read or made
DISABLED_BECAUSE: Final = "disabled_because"  # in the metadata of a cron that was disabled here
FIELDS: Final = ("cron", "payload", "version", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class CronRecord:
    """What Redis holds of a cron."""

    cron: Cron
    payload: bytes  # JSON; b"" where it was not read
    version: int
    created_at: int  # µs
    updated_at: int  # µs
    due_ms: int | None
    read_at: float  # s, Redis time

    @property
    def enabled(self) -> bool:
        """Whether it may fire: nobody disabled it, and its end is not over."""
        return self.cron.enabled and not self.is_over

    @property
    def next_ms(self) -> int | None:
        """When it is due next (ms), None if it will not be."""
        return self.due_ms if self.enabled else None

    @property
    def is_over(self) -> bool:
        """Whether its end has passed."""
        return self.cron.end_time is not None and self.cron.end_time / 1e6 < self.read_at


@dataclass(frozen=True, slots=True)
class CronFilter:
    """What crons have to fit to be found; None fits all."""

    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata: dict[str, Any] | None = None

    def fits(self, record: CronRecord) -> bool:
        """Returns whether the cron fits all of it."""
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
    """Returns when the cron is due next (ms) after `now` (s), None if it is not."""
    if not cron.enabled:
        return None
    until = None if cron.end_time is None else cron.end_time / 1e6
    return next_due(cron.schedule, cron.timezone, after=now, until=until)


# ── Created, changed, deleted ───────────────────────────────────────────────────────────────


async def create(redis: Client, cron: Cron, payload: bytes, request: RunRequest) -> CronRecord:
    """Writes a cron; raises NotFoundError if its thread is not there."""
    due_ms = due_after(cron, await redis_time(redis))
    await scripts.create_cron(redis, cron, payload=payload, request=_pack(request), due_ms=due_ms)
    return await get(redis, cron.cron_id)


async def change(
    redis: Client, record: CronRecord, cron: Cron, payload: bytes, request: RunRequest
) -> bool:
    """Puts the cron in the place of the one that was read; False if that was changed meanwhile.

    When it is due is worked out anew if anything that decides it is another.
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
    fields = {"payload": payload, "request": _pack(request)}
    word = await scripts.update_cron(redis, cron, record.version, due_ms=due_ms, fields=fields)
    if word == "missing":
        raise not_found_error(cron.cron_id)
    return word == "updated"


async def delete(redis: Client, cron_id: str) -> None:
    """Deletes the cron; raises NotFoundError."""
    record = await get(redis, cron_id)
    if not await scripts.delete_cron(redis, cron_id, record.cron.thread_id):
        raise not_found_error(cron_id)


def not_found_error(cron_id: str) -> NotFoundError:
    """Returns what is said of a cron that is not there."""
    return NotFoundError(f"Cron with ID {cron_id} not found")


def changed_too_often_error(cron_id: str) -> ConflictError:
    """Returns what is said of a cron that others change all the time."""
    return ConflictError(f"Cron {cron_id} is being changed by others. Try again.")


def _pack(request: RunRequest) -> bytes:
    """Returns the request as it is kept; raises InvalidError if a worker could not make a run of it."""
    try:
        packed = pack(request)
        unpack_request(packed)
    except (RecursionError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidError(f"payload: it can't be kept: {error}") from None
    return packed


# ── Read ────────────────────────────────────────────────────────────────────────────────────


async def get(redis: Client, cron_id: str) -> CronRecord:
    """Returns the cron; raises NotFoundError."""
    for record in await _read(redis, [cron_id]):
        return record
    raise not_found_error(cron_id)


async def find(redis: Client, wanted: CronFilter) -> list[CronRecord]:
    """Returns all crons that fit, without their payloads, in no order."""
    found: list[CronRecord] = []
    async for ids in _ids(redis, wanted.thread_id):
        found += filter(wanted.fits, await _read(redis, ids, with_payload=False))
    return found


async def read_payloads(redis: Client, records: Iterable[CronRecord]) -> list[CronRecord]:
    """Returns the crons with their payloads; one that was deleted meanwhile is left out."""
    return await _read(redis, [record.cron.cron_id for record in records])


async def _ids(redis: Client, thread_id: str | None) -> AsyncIterator[list[str]]:
    """Gives the ids of all crons, or of a thread's, some at a time and each once."""
    if thread_id is not None:
        yield [c.decode() for c in await redis.smembers(keys.crons_of(thread_id))]  # type: ignore[misc]
        return
    # All at once: between two pages of it crons would change their places.
    ids = [word.decode(errors="replace") for word in await redis.zrange(keys.crons(), 0, -1)]
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
    found = []
    for cron_id, words, score in zip(cron_ids, replies[::2], replies[1::2], strict=True):
        held = dict(zip(fields, words, strict=True))
        try:
            if held["cron"] is not None:
                found.append(_record(held, score, seconds + micros / 1e6))
        except (msgspec.MsgspecError, TypeError, ValueError):
            log.exception("a cron can't be read and is not shown: %s", cron_id)
    return found


def _record(held: dict[str, bytes], score: float | None, now: float) -> CronRecord:
    return CronRecord(
        cron=unpack_cron(held["cron"]),
        payload=held.get("payload") or b"",
        version=int(held["version"]),
        created_at=int(held["created_at"]),
        updated_at=int(held["updated_at"]),
        due_ms=None if score is None or score == float("inf") else int(score),
        read_at=now,
    )


# ── Fired ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class CronContext:
    """What firing needs to know, beside the crons."""

    redis: Client
    directory: GraphDirectory
    max_live: int  # runs that may be alive at a time
    stream_ttl: int  # s


async def fire_due(firing: CronContext, *, limit: int, at_once: int) -> Counter[str]:
    """Fires the crons that are due, at most `most`, those first that are due longest.

    Of the due times that a cron has missed, the newest has its run; then it goes on from now.

    Returns how often what happened: the words of fire_cron.lua, 'over', 'disabled', 'failed'.
    """
    redis = firing.redis
    now = await redis_time(redis)
    due = await redis.zrangebyscore(
        keys.crons(), "-inf", now * 1000, start=0, num=limit, withscores=True
    )
    done: Counter[str] = Counter()
    for start in range(0, len(due), at_once):
        part = due[start : start + at_once]
        words = await asyncio.gather(*(_fire(firing, word, score, now) for word, score in part))
        done.update(words)
        if done["full"]:
            break  # there is no room for the others either
    return done


async def _fire(firing: CronContext, word: bytes, due_ms: float, now: float) -> str:
    try:
        cron_id = word.decode(errors="replace")
        record = await firing.redis.hmget(keys.cron(cron_id), ["cron", "request", "version"])  # type: ignore[misc]
        if record[0] is None:
            if await firing.redis.zrem(keys.crons(), word):  # else it was deleted right now
                log.error("the crons hold %r, which is none of ours; it is taken out", word)
            return "missing"
        return await _fire_read(firing, unpack_cron(record[0]), record, due_ms, now)
    except (*UNAVAILABLE, *WRITES_REJECTED):
        raise
    except UnavailableError as error:  # its graph may come back
        log.warning("cron %s waits: %s", cron_id, error)
        await firing.redis.zadd(keys.crons(), {word: now * 1000 + PUT_OFF}, xx=True, gt=True)
        return "failed"
    except Exception:  # the others must not wait for it
        log.exception("cron %r can't be fired, later again", word)
        await firing.redis.zadd(keys.crons(), {word: now * 1000 + PUT_OFF}, xx=True, gt=True)
        return "failed"


async def _fire_read(
    firing: CronContext, cron: Cron, record: list[bytes], due_ms: float, now: float
) -> str:
    version = int(record[2])
    if not cron.enabled or (cron.end_time is not None and cron.end_time / 1e6 + LATE < now):
        await scripts.update_cron(firing.redis, cron, version, due_ms=None, fields={})
        return "over"
    run_id = str(uuid.uuid4())
    thread_id = cron.thread_id or runs.stateless_thread_id(run_id)
    try:
        request = unpack_request(record[1])
        resolved = await firing.directory.resolve(request.assistant_id)
        project = await firing.directory.project()
        submitted = submission(request, resolved, project, run_id=run_id, thread_id=thread_id)
    except (NotFoundError, InvalidError, msgspec.MsgspecError, RecursionError) as error:
        await _disable(firing.redis, cron, version, str(error))
        return "disabled"
    word, displaced = await scripts.fire_cron(
        firing.redis,
        cron,
        version,
        due_ms=due_ms,
        next_ms=due_after(cron, now),
        spec=submitted.spec,
        new_thread=submitted.new_thread,
        max_live=firing.max_live,
        stream_ttl=firing.stream_ttl,
    )
    await runs.end_displaced(firing.redis, thread_id, displaced, stream_ttl=firing.stream_ttl)
    if word == "busy":
        log.info("cron %s: thread %s is busy, this time is passed over", cron.cron_id, thread_id)
    return word


async def _disable(redis: Client, cron: Cron, version: int, reason: str) -> None:
    """Disables a cron of which no run can be made, and says why in its metadata."""
    log.warning("cron %s is disabled: %s", cron.cron_id, reason)
    metadata = msgspec.json.decode(cron.metadata) | {DISABLED_BECAUSE: reason}
    changed = msgspec.structs.replace(cron, enabled=False, metadata=msgspec.json.encode(metadata))
    await scripts.update_cron(redis, changed, version, due_ms=None, fields={})


async def drop_orphans(redis: Client) -> int:
    """Deletes the crons whose thread is gone without a word: a temporary one, or one that Redis
    lost. Returns how many it was."""
    dropped = 0
    async for ids in _ids(redis, None):
        pipe = redis.pipeline(transaction=False)
        for cron_id in ids:
            pipe.hget(keys.cron(cron_id), "cron")
        threads = dict(zip(ids, map(_thread_of, await pipe.execute()), strict=True))
        for thread_id in threads.values():
            pipe.exists(keys.thread(thread_id or ""))
        for (cron_id, thread_id), exists in zip(threads.items(), await pipe.execute(), strict=True):
            if thread_id is not None and not exists:
                dropped += await scripts.delete_cron(redis, cron_id, thread_id, "orphaned")
    return dropped


def _thread_of(packed: bytes | None) -> str | None:
    """Returns the thread that a cron runs on, None if it needs none."""
    try:
        return unpack_cron(packed).thread_id if packed else None
    except msgspec.MsgspecError:
        return None
