"""Add pending writes: see put_writes.lua."""

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.lifecycle import RunStatus
from millstream.shared.redis import Client
from millstream.shared.scripts.claim import Claim
from millstream.shared.scripts.put_checkpoint import Place, guard
from millstream.shared.scripts.script import Script

SCRIPT = Script("put_writes")


async def put_writes(
    redis: Client, place: Place, claim: Claim | None, *, checkpoint_id: str, entries: bytes
) -> None:
    """Appends what a task wrote; raises FencedError as `put_checkpoint` does.

    `entries` are the run's id, a write, the run's id, a write, …, framed (wire.py).
    """
    run, fence = guard(place, claim)
    written = await SCRIPT(
        redis,
        [
            keys.checkpoint_writes(place.thread_id, place.namespace),
            keys.checkpoint_namespaces(place.thread_id),
            run,
        ],
        [fence, RunStatus.RUNNING, place.namespace, checkpoint_id, entries],
    )
    if not written:
        raise FencedError("writes were refused: another worker holds the run, or it has ended")
