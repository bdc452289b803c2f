"""Thread records: created, read, and shown to the worker's callers."""

import uuid
from dataclasses import dataclass
from typing import Any

import msgspec

from millstream.shared import checkpoints, keys, scripts
from millstream.shared.errors import ConflictError, NotFoundError
from millstream.shared.lifecycle import ThreadStatus
from millstream.shared.redis import Client


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


def new_thread_fields(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a thread that has had no run."""
    return {
        "status": ThreadStatus.IDLE.value,
        "settled": ThreadStatus.IDLE.value,
        "metadata": msgspec.json.encode(metadata),
    }


async def create_thread(
    redis: Client, thread_id: str | None, metadata: dict[str, Any], *, if_exists: str
) -> ThreadRecord:
    """Creates a thread and returns it; `if_exists='do_nothing'` returns the one that is there.

    Raises:
        ConflictError: it exists and `if_exists` is `raise`.
    """
    chosen = thread_id or str(uuid.uuid4())
    created = await scripts.create_thread(redis, chosen, new_thread_fields(metadata))
    if not created and if_exists != "do_nothing":
        raise ConflictError(f"Thread with ID {chosen} already exists")
    return await get_thread(redis, chosen)


async def get_thread(redis: Client, thread_id: str) -> ThreadRecord:
    """Returns the record; raises NotFoundError."""
    fields = await redis.hgetall(keys.thread(thread_id))  # type: ignore[misc]
    if not fields or b"retired" in fields:
        raise NotFoundError(f"Thread with ID {thread_id} not found")
    metadata = msgspec.json.decode(fields.get(b"metadata", b"{}"))
    graph_id = fields.get(b"graph_id")
    if graph_id is not None:
        metadata |= {
            "graph_id": graph_id.decode(),
            "assistant_id": fields[b"assistant_id"].decode(),
        }
    return ThreadRecord(
        thread_id=thread_id,
        created_at=int(fields[b"created_at"]),
        updated_at=int(fields[b"updated_at"]),
        state_updated_at=int(fields[b"state_updated_at"]),
        status=ThreadStatus(fields[b"status"].decode()),
        metadata=metadata,
        graph_id=None if graph_id is None else graph_id.decode(),
        values=fields.get(b"values") or None,
        interrupts=fields.get(b"interrupts", b"{}"),
        error=fields.get(b"error") or None,
        active=b"active" in fields,
    )


def busy(thread_id: str) -> str:
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
        raise ConflictError(busy(thread_id))
    return int(epoch or 0)


async def retire_thread(redis: Client, thread_id: str) -> list[str]:
    """Closes the thread to new runs; returns the ids of all its runs. Raises NotFoundError."""
    if not await scripts.retire_thread(redis, thread_id):
        raise NotFoundError(f"Thread with ID {thread_id} not found")
    ids = await redis.zrange(keys.runs(thread_id), 0, -1)
    return [run_id.decode() for run_id in ids]


async def delete_thread(redis: Client, thread_id: str) -> bool:
    """Deletes a retired thread, its runs, their events and its checkpoints.

    Returns False, with nothing changed, while one of its runs is alive.
    """
    run_ids = [r.decode() for r in await redis.zrange(keys.runs(thread_id), 0, -1)]
    undone = [r.decode() for r in await redis.smembers(keys.undone(thread_id))]  # type: ignore[misc]
    names = [keys.runs(thread_id), keys.undone(thread_id)]
    names += await checkpoints.key_names(redis, thread_id)
    return await scripts.delete_thread(redis, thread_id, [*run_ids, *undone], names)


async def require_thread(redis: Client, thread_id: str) -> None:
    """Raises NotFoundError if there is no such thread."""
    retired = await redis.hget(keys.thread(thread_id), "retired")  # type: ignore[misc]
    if retired or not await redis.exists(keys.thread(thread_id)):
        raise NotFoundError(f"Thread with ID {thread_id} not found")
