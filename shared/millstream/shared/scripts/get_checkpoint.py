"""Read a checkpoint: see get_checkpoint.lua."""

from dataclasses import dataclass

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.put_checkpoint import Place
from millstream.shared.scripts.script import Script
from millstream.shared.wire import unframe

SCRIPT = Script("get_checkpoint")


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint as Redis holds it."""

    checkpoint_id: str
    record: bytes
    writes: bytes  # as put_writes was given them, one after the other
    values: dict[bytes, bytes]  # field → msgpack


async def get_checkpoint(
    redis: Client, place: Place, checkpoint_id: str
) -> StoredCheckpoint | None:
    """Returns the checkpoint, or the newest of its namespace for ''; None if there is none."""
    thread, namespace = place.thread_id, place.namespace
    reply = await SCRIPT(
        redis,
        [
            keys.checkpoint_index(thread, namespace),
            keys.checkpoint_records(thread, namespace),
            keys.checkpoint_references(thread, namespace),
            keys.checkpoint_values(thread, namespace),
            keys.checkpoint_writes(thread, namespace),
        ],
        [checkpoint_id],
    )
    if reply is None:
        return None
    found, record, references, writes, *values = reply
    _, *fields = unframe(references)
    stored = zip(fields, values, strict=True)
    return StoredCheckpoint(
        found.decode(), record, writes, {field: v for field, v in stored if v is not None}
    )
