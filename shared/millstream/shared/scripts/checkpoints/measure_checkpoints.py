"""Measure checkpoints: see measure_checkpoints.lua."""

from collections.abc import Sequence
from dataclasses import dataclass

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import Place
from millstream.shared.scripts.script import Script

SCRIPT = Script("checkpoints/measure_checkpoints")


@dataclass(frozen=True, slots=True)
class Measured:
    """How many there are, and how many bytes they take as they are stored."""

    checkpoints: int
    checkpoint_bytes: int
    writes: int
    write_bytes: int


async def measure_checkpoints(
    redis: Client, place: Place, checkpoint_ids: Sequence[bytes]
) -> Measured:
    """Returns the measures of these checkpoints; those that are gone count nothing."""
    thread, namespace = place.thread_id, place.namespace
    reply = await SCRIPT(
        redis,
        records=keys.checkpoint_records(thread, namespace),
        references=keys.checkpoint_references(thread, namespace),
        writes=keys.checkpoint_writes(thread, namespace),
        checkpoint_ids=checkpoint_ids,
    )
    return Measured(*reply)
