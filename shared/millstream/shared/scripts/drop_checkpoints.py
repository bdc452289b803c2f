"""Undo what a run stored: see drop_checkpoints.lua."""

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.lifecycle import RunStatus
from millstream.shared.redis import Client
from millstream.shared.scripts.claim import Claim
from millstream.shared.scripts.put_checkpoint import Place, guard
from millstream.shared.scripts.script import Script

SCRIPT = Script("drop_checkpoints")


async def drop_checkpoints(redis: Client, place: Place, claim: Claim) -> int:
    """Deletes the checkpoints and writes of the claimed run in one namespace; returns how many
    checkpoints it were.

    Raises:
        FencedError: the lease is another's, or the run has ended.
    """
    thread, namespace = place.thread_id, place.namespace
    run, fence = guard(place, claim)
    dropped = await SCRIPT(
        redis,
        [
            keys.checkpoint_index(thread, namespace),
            keys.checkpoint_records(thread, namespace),
            keys.checkpoint_references(thread, namespace),
            keys.checkpoint_values(thread, namespace),
            keys.checkpoint_writes(thread, namespace),
            keys.checkpoint_namespaces(thread),
            run,
        ],
        [fence, RunStatus.RUNNING, namespace, claim.spec.run_id],
    )
    if dropped < 0:
        raise FencedError("a rollback was refused: another worker holds the run, or it has ended")
    return int(dropped)
