"""Deletes a thread's checkpoints, or all but the newest: see prune_checkpoints.lua."""

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
    """Deletes checkpoints with their values and writes; returns the number of checkpoints.

    Returns None, without a change, if the thread has other namespaces than `namespaces`: read them again.

    Args:
        claim: of the run that prunes; None outside of runs.
        keep_latest: whether the newest checkpoint of each namespace stays, with those that it builds on.
        only_idle: whether to refuse while a run is active on the thread.

    Raises:
        FencedError: the caller lost the lease, or the run has ended.
        ConflictError: a run is active on the thread.
    """
    dropped = await SCRIPT(
        redis,
        namespaces=keys.checkpoint_namespaces(thread_id),
        checkpoint_runs=keys.checkpoint_runs(thread_id),
        runs_with_checkpoints=keys.runs_with_checkpoints(),
        thread=keys.thread(thread_id),
        namespace_keys=namespace_keys_of(thread_id, namespaces),
        **fence_arguments(thread_id, claim),
        thread_id=thread_id,
        keep=int(keep_latest),
        idle=int(only_idle),
        namespace_names=namespaces,
    )
    if dropped == FENCED:
        raise FencedError(
            "the pruning was refused: another worker holds the run, or the run has ended"
        )
    if dropped == BUSY:
        raise ConflictError(f"Thread with ID {thread_id} is busy: prune it when its run has ended")
    return None if dropped == OTHER_NAMESPACES else int(dropped)
