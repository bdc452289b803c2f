"""Measures checkpoints: see measure_checkpoints.lua."""

from collections.abc import Sequence
from dataclasses import dataclass

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.scripts.script import Script

SCRIPT = Script("checkpoints/measure_checkpoints")


@dataclass(frozen=True, slots=True)
class CheckpointSizes:
    """The number of checkpoints and pending writes, and their bytes in Redis."""

    checkpoints: int
    checkpoint_bytes: int
    writes: int
    write_bytes: int


async def measure_checkpoints(
    redis: Client, namespace: CheckpointNamespace, checkpoint_ids: Sequence[bytes]
) -> CheckpointSizes:
    """Returns the sums over these checkpoints; a checkpoint that does not exist counts as 0."""
    thread, name = namespace.thread_id, namespace.name
    reply = await SCRIPT(
        redis,
        records=keys.checkpoint_records(thread, name),
        references=keys.checkpoint_references(thread, name),
        writes=keys.checkpoint_writes(thread, name),
        checkpoint_ids=checkpoint_ids,
    )
    return CheckpointSizes(*reply)
