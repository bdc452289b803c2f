"""Delete a thread's checkpoints, or all but the newest: see prune_checkpoints.lua."""

from collections.abc import Sequence
from typing import Final

from millstream.shared import keys
from millstream.shared.errors import ConflictError, FencedError
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import (
    FENCED,
    OTHER_NAMESPACES,
    fence_arguments,
    namespace_keys_of,
)
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("checkpoints/prune_checkpoints")
BUSY: Final = -3


async def prune_checkpoints(
    redis: Client,
    thread_id: str,
    namespaces: Sequence[str],
    claim: Claim | None,
    *,
    keep_latest: bool,
    only_idle: bool,
) -> int | None:
    """Deletes checkpoints with their values and writes; returns how many checkpoints it were.

    Returns None, with nothing changed, if the thread has other namespaces than `namespaces`.

    Args:
        claim: the lease of the run that does it; None outside of runs.
        keep_latest: keep the newest checkpoint of each namespace, and what it builds on.
        only_idle: refuse while a run is active on the thread.

    Raises:
        FencedError: the lease is another's, or the run has ended.
        ConflictError: a run is active on the thread.
    """
    dropped = await SCRIPT(
        redis,
        namespaces=keys.checkpoint_namespaces(thread_id),
        checkpoint_runs=keys.checkpoint_runs(thread_id),
        runs_with_checkpoints=keys.runs_with_checkpoints(),
        thread=keys.thread(thread_id),
        families=namespace_keys_of(thread_id, namespaces),
        **fence_arguments(thread_id, claim),
        thread_id=thread_id,
        keep=int(keep_latest),
        idle=int(only_idle),
        namespace_names=namespaces,
    )
    if dropped == FENCED:
        raise FencedError("pruning was refused: another worker holds the run, or it has ended")
    if dropped == BUSY:
        raise ConflictError(f"Thread with ID {thread_id} is busy: prune it when its run has ended")
    return None if dropped == OTHER_NAMESPACES else int(dropped)
