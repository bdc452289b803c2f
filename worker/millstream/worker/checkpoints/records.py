"""The form in which the fenced saver stores checkpoints, and its conversion from and to LangGraph's objects."""

from typing import Any, Final

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    Checkpoint,
    CheckpointTuple,
    PendingWrite,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from millstream.shared.scripts.checkpoints.get_checkpoint import StoredCheckpoint
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.wire import unpack_list

MAX_VALUE_BYTES: Final = 256 * 1024 * 1024  # Redis accepts no string over 512 MB
NUL: Final = b"\0"
Typed = tuple[str, bytes]  # a serialised value: its kind and its bytes

pack = msgspec.msgpack.Encoder().encode


class Record(msgspec.Struct, array_like=True):
    """A checkpoint without its channel values."""

    checkpoint: Typed
    metadata: Typed


class Write(msgspec.Struct, array_like=True):
    """One pending write."""

    task_id: str
    index: int
    channel: str
    value: Typed
    task_path: str


_record = msgspec.msgpack.Decoder(Record)
_write = msgspec.msgpack.Decoder(Write)
_typed = msgspec.msgpack.Decoder(Typed)


def namespace_of(config: RunnableConfig) -> CheckpointNamespace:
    """Returns the thread and the namespace that a config names."""
    configurable = config["configurable"]
    return CheckpointNamespace(
        str(configurable["thread_id"]), configurable.get("checkpoint_ns") or ""
    )


def config_of(namespace: CheckpointNamespace, checkpoint_id: str) -> RunnableConfig:
    """Returns the config that names a checkpoint."""
    return {
        "configurable": {
            "thread_id": namespace.thread_id,
            "checkpoint_ns": namespace.name,
            "checkpoint_id": checkpoint_id,
        }
    }


def prefix_of(channel: str) -> bytes:
    """Returns the prefix of the fields that hold a channel's values."""
    return channel.encode() + NUL


def field_of(channel: str, version: object) -> bytes:
    """Returns the field that holds a version of a channel's value."""
    return prefix_of(channel) + str(version).encode()


def read_metadata(serde: SerializerProtocol, stored: StoredCheckpoint) -> Any:
    """Returns the metadata of a stored checkpoint."""
    return serde.loads_typed(_record.decode(stored.record).metadata)


def read_tuple(
    serde: SerializerProtocol, namespace: CheckpointNamespace, stored: StoredCheckpoint
) -> CheckpointTuple:
    """Returns a stored checkpoint as LangGraph's object."""
    load = serde.loads_typed
    record = _record.decode(stored.record)
    values = {}
    for field, value in stored.values.items():
        channel, _, _ = field.rpartition(NUL)
        values[channel.decode()] = load(_typed.decode(value))
    checkpoint: Checkpoint = {**load(record.checkpoint), "channel_values": values}  # type: ignore[typeddict-item]
    return CheckpointTuple(
        config=config_of(namespace, stored.checkpoint_id),
        checkpoint=checkpoint,
        metadata=load(record.metadata),
        parent_config=config_of(namespace, stored.parent_id) if stored.parent_id else None,
        pending_writes=_read_writes(serde, stored.writes),
    )


def _read_writes(serde: SerializerProtocol, packed_writes: bytes) -> list[PendingWrite]:
    """Returns the writes in the order in which LangGraph applies them.

    If a task has stored a write twice, the first one counts. Of special writes (error, interrupt, resume) the
    last one counts.
    """
    writes: dict[tuple[str, int], Write] = {}
    for packed in unpack_list(packed_writes)[1::2]:  # between them are the ids of their runs
        write = _write.decode(packed)
        key = (write.task_id, write.index)
        if write.index < 0 or key not in writes:
            writes[key] = write
    ordered = sorted(
        writes.values(), key=lambda w: writes_sort_key(w.task_path, w.task_id, w.index)
    )
    return [(w.task_id, w.channel, serde.loads_typed(w.value)) for w in ordered]
