"""Store a checkpoint: see put_checkpoint.lua."""

from collections.abc import Mapping
from dataclasses import dataclass

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.lifecycle import RunStatus
from millstream.shared.redis import Client
from millstream.shared.scripts.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("put_checkpoint")


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of a thread's checkpoints."""

    thread_id: str
    namespace: str


def guard(place: Place, claim: Claim | None) -> tuple[str, str | int]:
    """Returns the run's key and the fence under which a write is made; '' for none."""
    if claim is None:
        return keys.thread(place.thread_id), ""
    return keys.run(claim.spec.thread_id, claim.spec.run_id), claim.fence


async def put_checkpoint(
    redis: Client,
    place: Place,
    claim: Claim | None,
    *,
    checkpoint_id: str,
    record: bytes,
    references: bytes,
    values: Mapping[bytes, bytes],
) -> None:
    """Writes the checkpoint and its new values in one step; the same again changes nothing.

    Args:
        claim: the lease of the run that writes; None for an update from outside of runs.
        references: the run's id and the field of each value, framed (wire.py).
        values: field → msgpack, of the values that are not stored yet.

    Raises:
        FencedError: the lease is another's, or the run has ended.
    """
    thread, namespace = place.thread_id, place.namespace
    run, fence = guard(place, claim)
    written = await SCRIPT(
        redis,
        [
            keys.checkpoint_index(thread, namespace),
            keys.checkpoint_records(thread, namespace),
            keys.checkpoint_references(thread, namespace),
            keys.checkpoint_values(thread, namespace),
            keys.checkpoint_namespaces(thread),
            run,
        ],
        [
            fence,
            RunStatus.RUNNING,
            namespace,
            checkpoint_id,
            record,
            references,
            *(word for value in values.items() for word in value),
        ],
    )
    if not written:
        raise FencedError("a checkpoint was refused: another worker holds the run, or it has ended")
