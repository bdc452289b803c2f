"""Reads a checkpoint: see get_checkpoint.lua."""

from dataclasses import dataclass

from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace, namespace_keys
from millstream.shared.scripts.script import Script
from millstream.shared.wire import unpack_list

SCRIPT = Script("checkpoints/get_checkpoint")


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint as Redis stores it."""

    checkpoint_id: str
    parent_id: str  # '' for none
    record: bytes
    writes: bytes  # packed list: a run's id, a write, … (put_writes)
    values: dict[bytes, bytes]  # field → msgpack


async def get_checkpoint(
    redis: Client, namespace: CheckpointNamespace, checkpoint_id: str
) -> StoredCheckpoint | None:
    """Returns the checkpoint, or for '' the namespace's newest; None if it does not exist."""
    reply = await SCRIPT(
        redis, checkpoint_id=checkpoint_id, **namespace_keys(namespace.thread_id, namespace.name)
    )
    if reply is None:
        return None
    stored_id, record, references, writes, *values = reply
    _, parent, _, *fields = unpack_list(references)
    return StoredCheckpoint(
        checkpoint_id=stored_id.decode(),
        parent_id=parent.decode(),
        record=record,
        writes=writes,
        values={
            field: value for field, value in zip(fields, values, strict=True) if value is not None
        },
    )
