"""Add pending writes: see put_writes.lua."""

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.lifecycle import RunStatus
from millstream.shared.redis import Client
from millstream.shared.scripts.claim import Claim
from millstream.shared.scripts.place import Place, guard
from millstream.shared.scripts.script import Script

SCRIPT = Script("put_writes")


async def put_writes(
    redis: Client,
    place: Place,
    claim: Claim | None,
    *,
    checkpoint_id: str,
    run_id: str,
    entries: bytes,
) -> None:
    """Appends what a task wrote; raises FencedError as `put_checkpoint` does.

    `run_id` is '' for none; `entries` are the run's id, a write, the run's id, a write, …, framed
    (wire.py).
    """
    thread = place.thread_id
    run, fence = guard(thread, claim)
    written = await SCRIPT(
        redis,
        [
            keys.checkpoint_writes(thread, place.namespace),
            keys.checkpoint_namespaces(thread),
            run,
            keys.checkpoint_runs(thread),
            keys.ran(),
        ],
        [
            fence,
            RunStatus.RUNNING,
            place.namespace,
            checkpoint_id,
            entries,
            run_id,
            keys.ran_in(run_id, thread),
        ],
    )
    if not written:
        raise FencedError("writes were refused: another worker holds the run, or it has ended")
