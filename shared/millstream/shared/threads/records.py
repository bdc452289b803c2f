"""The records of threads: creating, reading, changing and deleting them."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.errors import ConflictError, NotFoundError, TooLargeError
from millstream.shared.metadata_index import index_fields
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import ThreadStatus
from millstream.shared.sealing import KeyRing, key_ring_of
from millstream.shared.sealing.fields import open_thread_field
from millstream.shared.threads import checkpoints
from millstream.shared.wire import Project

MAX_METADATA_BYTES: Final = 1024 * 1024  # of JSON


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long a thread stays after its last use, and what then happens."""

    milliseconds: int
    strategy: str = "delete"  # or "keep_latest": only the newest checkpoints stay


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A thread's record. Times are µs since the epoch; JSON stays bytes."""

    thread_id: str
    created_at: int
    updated_at: int
    state_updated_at: int
    status: ThreadStatus
    metadata: dict[str, Any]
    graph_id: str | None  # of the newest run; None before the first run
    values: bytes | None
    interrupts: bytes
    error: bytes | None
    active: bool  # it has a run that a worker executes, or may claim
    ttl: Ttl | None


def default_ttl(project: Project) -> Ttl | None:
    """Returns the `ttl` of a thread that is created without one (`checkpointer.ttl` of langgraph.json)."""
    if project.thread_ttl is None:
        return None
    return Ttl(max(1, round(project.thread_ttl * 60_000)), project.thread_ttl_strategy)


def new_thread_fields(metadata: dict[str, Any], ttl: Ttl | None = None) -> dict[str, Any]:
    """Returns the record fields of a thread without a run.

    Raises TooLargeError if the metadata is larger than `MAX_METADATA_BYTES`.
    """
    fields: dict[str, Any] = {
        "status": ThreadStatus.IDLE.value,
        "idle_status": ThreadStatus.IDLE.value,
        **metadata_fields(metadata),
    }
    if ttl is not None:
        fields |= _ttl_fields(ttl)
    return fields


def metadata_fields(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the record fields that follow from a new thread's metadata.

    Raises TooLargeError if it is larger than `MAX_METADATA_BYTES`.
    """
    encoded = msgspec.json.encode(metadata)
    if len(encoded) > MAX_METADATA_BYTES:
        raise TooLargeError(f"metadata: more than {MAX_METADATA_BYTES} bytes")
    return {"metadata": encoded, **index_fields(metadata)}


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
    """Creates a thread and returns it; `if_exists='do_nothing'` returns a thread that exists.

    Args:
        thread_id: None chooses an id.

    Raises:
        ConflictError: the thread exists and `if_exists` is `raise`.
        TooLargeError: the metadata is larger than `MAX_METADATA_BYTES`.
    """
    thread_id = thread_id or str(uuid.uuid4())
    created = await scripts.create_thread(redis, thread_id, new_thread_fields(metadata, ttl))
    if not created and if_exists != "do_nothing":
        raise ConflictError(already_exists_message(thread_id))
    return await get_thread(redis, thread_id)


async def get_thread(redis: Client, thread_id: str) -> ThreadRecord:
    """Returns the record; raises NotFoundError."""
    fields = await redis.hgetall(keys.thread(thread_id))  # type: ignore[misc]
    record = parse_record(key_ring_of(redis), thread_id, fields)
    if record is None:
        raise not_found_error(thread_id)
    return record


def parse_record(
    key_ring: KeyRing, thread_id: str, fields: dict[bytes, bytes]
) -> ThreadRecord | None:
    """Parses fields of a thread's record; returns None if the thread is deleted, or its deletion has begun.

    Raises SealedError if no key opens a field.
    """

    def opened(name: str) -> bytes:
        return open_thread_field(key_ring, thread_id, name, fields.get(name.encode(), b""))

    if b"created_at" not in fields or b"retired" in fields:
        return None
    graph_id = fields.get(b"graph_id")
    return ThreadRecord(
        thread_id=thread_id,
        created_at=int(fields[b"created_at"]),
        updated_at=int(fields[b"updated_at"]),
        state_updated_at=int(fields[b"state_updated_at"]),
        status=ThreadStatus(fields[b"status"].decode()),
        metadata=merge_run_metadata(
            fields.get(b"metadata"), graph_id, fields.get(b"assistant_id", b"")
        ),
        graph_id=None if graph_id is None else graph_id.decode(),
        values=opened("values") or None,
        interrupts=opened("interrupts") or b"{}",
        error=opened("error") or None,
        active=b"active" in fields,
        ttl=_ttl(fields),
    )


def merge_run_metadata(
    stored: bytes | None, graph_id: bytes | None, assistant_id: bytes
) -> dict[str, Any]:
    """Returns the client's metadata with the graph and the assistant of the newest run, which take precedence."""
    metadata: dict[str, Any] = msgspec.json.decode(stored or b"{}")
    if graph_id is not None:
        metadata |= {"graph_id": graph_id.decode(), "assistant_id": assistant_id.decode()}
    return metadata


@dataclass(frozen=True, slots=True)
class JudgedMetadata:
    """A thread's metadata for an authorisation: as filters read it, and as it is stored (JSON)."""

    metadata: dict[str, Any]
    stored: bytes


async def read_metadata(redis: Client, thread_id: str) -> JudgedMetadata | None:
    """Returns the thread's metadata; None if the thread does not exist."""
    [judged] = await read_many_metadata(redis, [thread_id])
    return judged


async def read_many_metadata(
    redis: Client, thread_ids: Sequence[str]
) -> list[JudgedMetadata | None]:
    """Returns the metadata of each thread; None for one that does not exist."""
    pipe = redis.pipeline(transaction=False)
    for thread_id in thread_ids:
        pipe.hmget(
            keys.thread(thread_id),
            ["created_at", "retired", "metadata", "graph_id", "assistant_id"],
        )
    return [_judged(*values) for values in await pipe.execute()]


def _judged(
    created_at: bytes | None,
    retired: bytes | None,
    metadata: bytes | None,
    graph_id: bytes | None,
    assistant_id: bytes | None,
) -> JudgedMetadata | None:
    if created_at is None or retired is not None:
        return None
    merged = merge_run_metadata(metadata, graph_id, assistant_id or b"")
    return JudgedMetadata(merged, metadata or b"{}")


async def patch_thread(
    redis: Client,
    thread_id: str,
    metadata: dict[str, Any],
    ttl: Ttl | None,
    judge: Callable[[dict[str, Any] | None, dict[str, Any]], None] = lambda *_: None,
) -> None:
    """Merges the metadata into the thread's, on the first level only, and sets its `ttl` (None: keeps it).

    `judge` is called with the metadata before (None: no such thread) and after, and raises if the caller may not do
    this.

    Raises:
        NotFoundError: the thread does not exist.
        TooLargeError: the metadata would be larger than `MAX_METADATA_BYTES`.
    """
    status = "changed"
    while status == "changed":  # another patch was faster
        fields_read = ["metadata", "graph_id", "assistant_id", "created_at"]
        stored, graph_id, assistant_id, created_at = await redis.hmget(  # type: ignore[misc]
            keys.thread(thread_id), fields_read
        )
        read = stored or b"{}"
        before = merge_run_metadata(read, graph_id, assistant_id or b"")
        judge(before if created_at else None, before | metadata)
        fields = {} if ttl is None else _ttl_fields(ttl)
        if metadata:
            merged = msgspec.json.decode(read) | metadata
            encoded = msgspec.json.encode(merged)
            if len(encoded) > max(MAX_METADATA_BYTES, len(read)):
                raise TooLargeError(
                    f"metadata: more than {MAX_METADATA_BYTES} bytes, merged with the thread's"
                )
            fields |= {"metadata": encoded, **index_fields(merged)}
            if graph_id is not None:
                fields.pop("run_terms")
        status = await scripts.patch_thread(
            redis, thread_id, read, had_run=graph_id is not None, fields=fields
        )
    if status == "missing":
        raise not_found_error(thread_id)


def _ttl(fields: dict[bytes, bytes]) -> Ttl | None:
    if b"ttl" not in fields:
        return None
    return Ttl(int(fields[b"ttl"]), fields[b"ttl_strategy"].decode())


async def expires_at(redis: Client, thread_id: str) -> int | None:
    """Returns when the thread expires (µs); None if it does not."""
    due = await redis.zscore(keys.expiring(), thread_id)
    return None if due is None else int(due * 1000)


def not_found_error(thread_id: str) -> NotFoundError:
    """Returns the error for a thread that does not exist."""
    return NotFoundError(f"Thread with ID {thread_id} not found")


def already_exists_message(thread_id: str) -> str:
    """Returns the error message for a thread to create that exists."""
    return f"Thread with ID {thread_id} already exists"


def busy_message(thread_id: str) -> str:
    """Returns the error message for a thread that can't be changed because a run is active on it."""
    return f"Thread {thread_id} is busy: a run is active on it. Wait for it to end, or cancel it."


async def idle_epoch(redis: Client, thread_id: str) -> int:
    """Returns the thread's epoch, for an update of its state (scripts.store_state).

    Raises:
        NotFoundError: the thread does not exist.
        ConflictError: a run is active on it.
    """
    fields = ["created_at", "retired", "active", "epoch"]
    created, retired, active, epoch = await redis.hmget(keys.thread(thread_id), fields)  # type: ignore[misc]
    if not created or retired:
        raise not_found_error(thread_id)
    if active:
        raise ConflictError(busy_message(thread_id))
    return int(epoch or 0)


async def retire_thread(redis: Client, thread_id: str, guard: str = "") -> list[str]:
    """Closes the thread to new runs; returns the ids of all its runs. Raises NotFoundError, RightsChangedError."""
    if await scripts.retire_thread(redis, thread_id, guard=guard) == "missing":
        raise not_found_error(thread_id)
    ids = await redis.zrange(keys.runs(thread_id), 0, -1)
    return [run_id.decode() for run_id in ids]


async def delete_thread(redis: Client, thread_id: str) -> bool:
    """Deletes a retired thread, its runs, their events, its crons and its checkpoints.

    Returns False, without a change, while one of its runs has not ended.
    """
    run_ids = [r.decode() for r in await redis.zrange(keys.runs(thread_id), 0, -1)]
    rolled_back = [r.decode() for r in await redis.smembers(keys.rolled_back(thread_id))]  # type: ignore[misc]
    other_keys = [keys.runs(thread_id), keys.rolled_back(thread_id)]
    other_keys += await checkpoints.list_keys(redis, thread_id)
    segments = [s.decode() for s in await redis.zrange(keys.segments(thread_id), 0, -1)]
    other_keys += [keys.events(thread_id, segment) for segment in segments]  # for the updates
    crons = [c.decode() for c in await redis.smembers(keys.crons_of(thread_id))]  # type: ignore[misc]
    return await scripts.delete_thread(
        redis, thread_id, [*run_ids, *rolled_back], other_keys, crons
    )


async def get_interrupts(redis: Client, thread_id: str) -> bytes:
    """Returns the interrupts that the thread waits for, as JSON: task id → its interrupts; `{}` for none."""
    try:
        record = await get_thread(redis, thread_id)
    except NotFoundError:
        return b"{}"
    return record.interrupts if record.status is ThreadStatus.INTERRUPTED else b"{}"


async def exists(redis: Client, thread_id: str) -> bool:
    """Returns whether the thread has a record."""
    return bool(await redis.exists(keys.thread(thread_id)))


async def require_thread(redis: Client, thread_id: str) -> None:
    """Raises NotFoundError if the thread does not exist."""
    retired = await redis.hget(keys.thread(thread_id), "retired")  # type: ignore[misc]
    if retired or not await redis.exists(keys.thread(thread_id)):
        raise not_found_error(thread_id)


async def copy_thread(
    redis: Client,
    thread_id: str,
    target_id: str | None = None,
    *,
    restamp: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> ThreadRecord:
    """Creates a thread with the state, the metadata and the `ttl` of another; returns it.

    `restamp` returns the copy's metadata, from that of the thread; it raises if the caller may not copy it.

    Raises:
        NotFoundError: the thread does not exist.
        ConflictError: a run is active on it, so its state may change.
    """
    target_id = target_id or str(uuid.uuid4())
    status = "changed"
    while status == "changed":  # a namespace was added or deleted meanwhile
        namespaces = await checkpoints.list_namespaces(redis, thread_id)
        arguments = {} if restamp is None else await _restamped(redis, thread_id, restamp)
        status = await scripts.copy_thread(redis, thread_id, target_id, namespaces, **arguments)
    if status == "missing":
        raise not_found_error(thread_id)
    if status == "busy":
        raise ConflictError(busy_message(thread_id))
    return await get_thread(redis, target_id)


async def _restamped(
    redis: Client, thread_id: str, restamp: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Returns the arguments with which a copy gets other metadata."""
    judged = await read_metadata(redis, thread_id)
    if judged is None:
        raise not_found_error(thread_id)
    metadata = restamp(judged.metadata)
    return {"metadata": judged.stored, "fields": metadata_fields(metadata)}


async def prune(redis: Client, thread_id: str, strategy: str, guard: str = "") -> bool:
    """Deletes the thread, or with the strategy `keep_latest` all its checkpoints but the newest.

    Returns False if the thread does not exist. Raises ConflictError while one of its runs has not ended, and
    RightsChangedError if the metadata of a thread to delete is not the one that `guard` is of.
    """
    if strategy == "keep_latest":
        if not await redis.exists(keys.thread(thread_id)):
            return False
        await checkpoints.prune(redis, thread_id, keep_latest=True)
        return True
    status = await scripts.retire_thread(redis, thread_id, "idle", guard)
    if status == "busy":
        raise ConflictError(busy_message(thread_id))
    return status == "retired" and await delete_thread(redis, thread_id)


async def find_busy(redis: Client, thread_ids: Sequence[str]) -> list[str]:
    """Returns the threads that have an active run."""
    pipe = redis.pipeline(transaction=False)
    for thread_id in thread_ids:
        pipe.hexists(keys.thread(thread_id), "active")
    replies = await pipe.execute()
    return [thread_id for thread_id, active in zip(thread_ids, replies, strict=True) if active]
