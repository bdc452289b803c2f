"""What the fenced saver stores, taken apart and put together."""

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

MOST_BYTES: Final = 256 * 1024 * 1024  # of one value; Redis takes no word over 512 MB
NUL: Final = b"\0"
Typed = tuple[str, bytes]  # what a serializer makes of a value

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
    """Returns how the fields of a channel's values begin."""
    return channel.encode() + NUL


def field_of(channel: str, version: object) -> bytes:
    """Returns where a version of a channel's value is stored."""
    return prefix_of(channel) + str(version).encode()


def read_metadata(serde: SerializerProtocol, stored: StoredCheckpoint) -> Any:
    """Returns the metadata of a stored checkpoint."""
    return serde.loads_typed(_record.decode(stored.record).metadata)


def read_tuple(
    serde: SerializerProtocol, namespace: CheckpointNamespace, stored: StoredCheckpoint
) -> CheckpointTuple:
    """Returns a stored checkpoint as LangGraph has it."""
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
        pending_writes=_pending(serde, stored.writes),
    )


def _pending(serde: SerializerProtocol, framed: bytes) -> list[PendingWrite]:
    """Returns the writes in the order in which LangGraph applies them.

    A task's ordinary write is kept when it is stored again; its special ones (error, interrupt,
    resume) are replaced.
    """
    kept: dict[tuple[str, int], Write] = {}
    for packed in unpack_list(framed)[1::2]:  # each behind its run's id
        write = _write.decode(packed)
        place = (write.task_id, write.index)
        if write.index < 0 or place not in kept:
            kept[place] = write
    ordered = sorted(kept.values(), key=lambda w: writes_sort_key(w.task_path, w.task_id, w.index))
    return [(w.task_id, w.channel, serde.loads_typed(w.value)) for w in ordered]
