"""Measure checkpoints: see measure_checkpoints.lua."""

from collections.abc import Sequence
from dataclasses import dataclass

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.scripts.script import Script

SCRIPT = Script("checkpoints/measure_checkpoints")


@dataclass(frozen=True, slots=True)
class CheckpointSizes:
    """How many there are, and how many bytes they take as they are stored."""

    checkpoints: int
    checkpoint_bytes: int
    writes: int
    write_bytes: int


async def measure_checkpoints(
    redis: Client, namespace: CheckpointNamespace, checkpoint_ids: Sequence[bytes]
) -> CheckpointSizes:
    """Returns the measures of these checkpoints; those that are gone count nothing."""
    thread, name = namespace.thread_id, namespace.name
    reply = await SCRIPT(
        redis,
        records=keys.checkpoint_records(thread, name),
        references=keys.checkpoint_references(thread, name),
        writes=keys.checkpoint_writes(thread, name),
        checkpoint_ids=checkpoint_ids,
    )
    return CheckpointSizes(*reply)
