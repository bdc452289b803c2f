"""Appends pending writes: see put_writes.lua."""

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace, fence_arguments
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("checkpoints/put_writes")


async def put_writes(
    redis: Client,
    namespace: CheckpointNamespace,
    claim: Claim | None,
    *,
    checkpoint_id: str,
    run_id: str,
    entries: bytes,
) -> None:
    """Appends the pending writes of a task.

    Args:
        claim: of the run that writes; None outside of runs.
        run_id: '' for none.
        entries: packed list (wire.pack_list): the run's id, a write, the run's id, a write, …

    Raises:
        FencedError: the caller lost the lease, or the run has ended.
    """
    thread = namespace.thread_id
    written = await SCRIPT(
        redis,
        writes=keys.checkpoint_writes(thread, namespace.name),
        namespaces=keys.checkpoint_namespaces(thread),
        checkpoint_runs=keys.checkpoint_runs(thread),
        runs_with_checkpoints=keys.runs_with_checkpoints(),
        **fence_arguments(thread, claim),
        namespace=namespace.name,
        checkpoint_id=checkpoint_id,
        entries=entries,
        run_id=run_id,
        run_in_thread=keys.run_in_thread(run_id, thread),
    )
    if not written:
        raise FencedError(
            "the writes were refused: another worker holds the run, or the run has ended"
        )
