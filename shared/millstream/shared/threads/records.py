"""Thread records: created, read, and shown to the worker's callers."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.errors import ConflictError, NotFoundError, TooLargeError
from millstream.shared.metadata_index import index_fields
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import ThreadStatus
from millstream.shared.threads import checkpoints
from millstream.shared.wire import Project

Pruner = Callable[[str], Awaitable[None]]
MAX_METADATA_BYTES: Final = 1024 * 1024  # bytes of JSON to which patches may add up
AGAIN: Final = (
    60_000  # ms after which a thread is looked at again whose time was over while it was busy
)


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long a thread lives after its last use, and what becomes of it then."""

    milliseconds: int
    strategy: str = "delete"  # or "keep_latest": the newest checkpoints stay


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """What Redis holds of a thread. Times are µs since the epoch; JSON stays bytes."""

    thread_id: str
    created_at: int
    updated_at: int
    state_updated_at: int
    status: ThreadStatus
    metadata: dict[str, Any]
    graph_id: str | None  # of the newest run, None before the first
    values: bytes | None
    interrupts: bytes
    error: bytes | None
    active: bool  # a run is, or will be as soon as a worker takes it
    ttl: Ttl | None


def default_ttl(project: Project) -> Ttl | None:
    """Returns the lifetime of a thread that is created without one (`checkpointer.ttl`)."""
    if project.thread_ttl is None:
        return None
    return Ttl(max(1, round(project.thread_ttl * 60_000)), project.thread_ttl_strategy)


def new_thread_fields(metadata: dict[str, Any], ttl: Ttl | None = None) -> dict[str, Any]:
    """Returns the fields of a thread that has had no run."""
    fields: dict[str, Any] = {
        "status": ThreadStatus.IDLE.value,
        "idle_status": ThreadStatus.IDLE.value,
        "metadata": msgspec.json.encode(metadata),
        **index_fields(metadata),
    }
    if ttl is not None:
        fields |= _ttl_fields(ttl)
    return fields


def _ttl_fields(ttl: Ttl) -> dict[str, Any]:
    return {"ttl": ttl.milliseconds, "ttl_strategy": ttl.strategy}


async def create_thread(
    redis: Client,
    thread_id: str | None,
    metadata: dict[str, Any],
    *,
    if_exists: str,
    ttl: Ttl | None = None,
) -> ThreadRecord:
    """Creates a thread and returns it; `if_exists='do_nothing'` returns the one that is there.

    Raises:
        ConflictError: it exists and `if_exists` is `raise`.
    """
    chosen = thread_id or str(uuid.uuid4())
    created = await scripts.create_thread(redis, chosen, new_thread_fields(metadata, ttl))
    if not created and if_exists != "do_nothing":
        raise ConflictError(already_exists_message(chosen))
    return await get_thread(redis, chosen)


async def get_thread(redis: Client, thread_id: str) -> ThreadRecord:
    """Returns the record; raises NotFoundError."""
    fields = await redis.hgetall(keys.thread(thread_id))  # type: ignore[misc]
    record = parse_record(thread_id, fields)
    if record is None:
        raise NotFoundError(f"Thread with ID {thread_id} not found")
    return record


def parse_record(thread_id: str, fields: dict[bytes, bytes]) -> ThreadRecord | None:
    """Returns the thread as these fields of its record have it; None if it is gone, or going."""
    if b"created_at" not in fields or b"retired" in fields:
        return None
    graph_id = fields.get(b"graph_id")
    return ThreadRecord(
        thread_id=thread_id,
        created_at=int(fields[b"created_at"]),
        updated_at=int(fields[b"updated_at"]),
        state_updated_at=int(fields[b"state_updated_at"]),
        status=ThreadStatus(fields[b"status"].decode()),
        metadata=shown_metadata(
            fields.get(b"metadata"), graph_id, fields.get(b"assistant_id", b"")
        ),
        graph_id=None if graph_id is None else graph_id.decode(),
        values=fields.get(b"values") or None,
        interrupts=fields.get(b"interrupts", b"{}"),
        error=fields.get(b"error") or None,
        active=b"active" in fields,
        ttl=_ttl(fields),
    )


def shown_metadata(
    stored: bytes | None, graph_id: bytes | None, assistant_id: bytes
) -> dict[str, Any]:
    """Returns the client's metadata with what its newest run names; that wins."""
    metadata: dict[str, Any] = msgspec.json.decode(stored or b"{}")
    if graph_id is not None:
        metadata |= {"graph_id": graph_id.decode(), "assistant_id": assistant_id.decode()}
    return metadata


async def patch_thread(
    redis: Client, thread_id: str, metadata: dict[str, Any], ttl: Ttl | None
) -> None:
    """Merges the metadata into the thread's (the first level of it) and sets its `ttl`, if given.

    Raises:
        NotFoundError: there is no such thread.
        TooLargeError: the metadata would be larger than `MAX_METADATA_BYTES`.
    """
    word = "changed"
    while word == "changed":  # by somebody else; so somebody gets on
        found = await redis.hmget(keys.thread(thread_id), ["metadata", "graph_id"])  # type: ignore[misc]
        read, graph_id = found[0] or b"{}", found[1]
        fields = {} if ttl is None else _ttl_fields(ttl)
        if metadata:
            merged = msgspec.json.decode(read) | metadata
            encoded = msgspec.json.encode(merged)
            if len(encoded) > max(MAX_METADATA_BYTES, len(read)):
                raise TooLargeError(
                    f"metadata: with what the thread has, more than {MAX_METADATA_BYTES} bytes"
                )
            fields |= {"metadata": encoded, **index_fields(merged)}
            if graph_id is not None:
                fields.pop("run_terms")
        word = await scripts.patch_thread(
            redis, thread_id, read, had_run=graph_id is not None, fields=fields
        )
    if word == "missing":
        raise NotFoundError(f"Thread with ID {thread_id} not found")


def _ttl(fields: dict[bytes, bytes]) -> Ttl | None:
    if b"ttl" not in fields:
        return None
    return Ttl(int(fields[b"ttl"]), fields[b"ttl_strategy"].decode())


async def expires_at(redis: Client, thread_id: str) -> int | None:
    """Returns when the thread's time is over (µs), None if it has no such time."""
    due = await redis.zscore(keys.expiring(), thread_id)
    return None if due is None else int(due * 1000)


def already_exists_message(thread_id: str) -> str:
    """Returns what is said of a thread that is there though it was to be new."""
    return f"Thread with ID {thread_id} already exists"


def busy_message(thread_id: str) -> str:
    """Returns what is said of a thread that can't be written because a run is active on it."""
    return f"Thread {thread_id} is busy: a run is active on it. Wait for it to end, or cancel it."


async def idle_epoch(redis: Client, thread_id: str) -> int:
    """Returns the thread's epoch, for an update of its state (scripts.store_state).

    Raises:
        NotFoundError: there is no such thread.
        ConflictError: a run is active on it.
    """
    fields = ["created_at", "retired", "active", "epoch"]
    created, retired, active, epoch = await redis.hmget(keys.thread(thread_id), fields)  # type: ignore[misc]
    if not created or retired:
        raise NotFoundError(f"Thread with ID {thread_id} not found")
    if active:
        raise ConflictError(busy_message(thread_id))
    return int(epoch or 0)


async def get_config(redis: Client, thread_id: str) -> dict[str, Any] | None:
    """Returns what the newest run was configured with whose graph a factory made (scripts.note_config).

    None before such a run.
    """
    kept = await redis.hget(keys.thread(thread_id), "config")  # type: ignore[misc]
    if kept is None:
        return None
    config: dict[str, Any] = msgspec.json.decode(kept)
    return config


async def retire_thread(redis: Client, thread_id: str) -> list[str]:
    """Closes the thread to new runs; returns the ids of all its runs. Raises NotFoundError."""
    if await scripts.retire_thread(redis, thread_id) == "missing":
        raise NotFoundError(f"Thread with ID {thread_id} not found")
    ids = await redis.zrange(keys.runs(thread_id), 0, -1)
    return [run_id.decode() for run_id in ids]


async def delete_thread(redis: Client, thread_id: str) -> bool:
    """Deletes a retired thread, its runs, their events, its crons and its checkpoints.

    Returns False, with nothing changed, while one of its runs is alive.
    """
    run_ids = [r.decode() for r in await redis.zrange(keys.runs(thread_id), 0, -1)]
    rolled_back = [r.decode() for r in await redis.smembers(keys.rolled_back(thread_id))]  # type: ignore[misc]
    names = [keys.runs(thread_id), keys.rolled_back(thread_id)]
    names += await checkpoints.key_names(redis, thread_id)
    turns = [turn.decode() for turn in await redis.zrange(keys.segments(thread_id), 0, -1)]
    names += [keys.events(thread_id, turn) for turn in turns]  # of updates; those of runs go anyway
    crons = [c.decode() for c in await redis.smembers(keys.crons_of(thread_id))]  # type: ignore[misc]
    return await scripts.delete_thread(redis, thread_id, [*run_ids, *rolled_back], names, crons)


async def get_interrupts(redis: Client, thread_id: str) -> bytes:
    """Returns the interrupts on which the thread waits, as JSON: task id → its interrupts; `{}` for none."""
    try:
        record = await get_thread(redis, thread_id)
    except NotFoundError:
        return b"{}"
    return record.interrupts if record.status is ThreadStatus.INTERRUPTED else b"{}"


async def exists(redis: Client, thread_id: str) -> bool:
    """Returns whether there is a record of that id."""
    return bool(await redis.exists(keys.thread(thread_id)))


async def require_thread(redis: Client, thread_id: str) -> None:
    """Raises NotFoundError if there is no such thread."""
    retired = await redis.hget(keys.thread(thread_id), "retired")  # type: ignore[misc]
    if retired or not await redis.exists(keys.thread(thread_id)):
        raise NotFoundError(f"Thread with ID {thread_id} not found")


async def copy_thread(redis: Client, thread_id: str, target_id: str | None = None) -> ThreadRecord:
    """Returns a new thread (`target_id`) with the state, the metadata and the `ttl` of another.

    Raises:
        NotFoundError: there is no such thread.
        ConflictError: a run is active on it, so its state is about to change.
    """
    target_id = target_id or str(uuid.uuid4())
    word = "changed"
    while word == "changed":  # a namespace came or went meanwhile
        found = await checkpoints.list_namespaces(redis, thread_id)
        word = await scripts.copy_thread(redis, thread_id, target_id, found)
    if word == "missing":
        raise NotFoundError(f"Thread with ID {thread_id} not found")
    if word == "busy":
        raise ConflictError(busy_message(thread_id))
    return await get_thread(redis, target_id)


async def prune(redis: Client, thread_id: str, strategy: str) -> bool:
    """Deletes the thread, or with `keep_latest` all its checkpoints but the newest.

    Returns False if there is no such thread; raises ConflictError while one of its runs is alive.
    """
    if strategy == "keep_latest":
        if not await redis.exists(keys.thread(thread_id)):
            return False
        await checkpoints.prune(redis, thread_id, keep_latest=True)
        return True
    word = await scripts.retire_thread(redis, thread_id, "idle")
    if word == "busy":
        raise ConflictError(busy_message(thread_id))
    return word == "retired" and await delete_thread(redis, thread_id)


async def find_busy(redis: Client, thread_ids: Sequence[str]) -> list[str]:
    """Returns those of the threads on which a run is active."""
    pipe = redis.pipeline(transaction=False)
    for thread_id in thread_ids:
        pipe.hexists(keys.thread(thread_id), "active")
    found = await pipe.execute()
    return [thread_id for thread_id, active in zip(thread_ids, found, strict=True) if active]


async def expire(redis: Client, *, limit: int, prune: Pruner) -> int:
    """Deletes or prunes the threads whose time is over, oldest first; returns how many it was.

    `prune` deletes all but the newest checkpoints of a thread; it raises ConflictError while a run is active on it.
    A thread with a live run is left as it is; the end of that run gives it new time.
    """
    seconds, micros = await redis.time()
    now_ms = seconds * 1000 + micros / 1000
    due = await redis.zrangebyscore(
        keys.expiring(), "-inf", now_ms, start=0, num=limit, withscores=True
    )
    done = 0
    for word, due_ms in due:
        done += await _expire(redis, word.decode(), due_ms, now_ms, prune)
    return done


async def _expire(
    redis: Client, thread_id: str, due_ms: float, now_ms: float, prune: Pruner
) -> bool:
    strategy = await redis.hget(keys.thread(thread_id), "ttl_strategy")  # type: ignore[misc]
    if strategy is None:  # the thread is gone, or has no time any more
        await scripts.forget_expiry(redis, thread_id, due_ms)
        return False
    if strategy == b"keep_latest":
        try:
            await prune(thread_id)
        except ConflictError:
            word = "busy"
        else:
            return await scripts.forget_expiry(redis, thread_id, due_ms)
    else:
        word = await scripts.retire_thread(redis, thread_id, "due")
    if word == "retired":
        return await delete_thread(redis, thread_id)
    if word == "busy":  # behind those that can be dealt with now
        await redis.zadd(keys.expiring(), {thread_id: now_ms + AGAIN}, xx=True, gt=True)
    return False
