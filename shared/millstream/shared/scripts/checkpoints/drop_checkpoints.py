"""Deletes the checkpoints of runs: see drop_checkpoints.lua."""

from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.errors import FencedError
from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.namespace import (
    FENCED,
    OTHER_NAMESPACES,
    fence_arguments,
    namespace_keys_of,
)
from millstream.shared.scripts.runs.claim import Claim
from millstream.shared.scripts.script import Script

SCRIPT = Script("checkpoints/drop_checkpoints")


async def drop_checkpoints(
    redis: Client,
    thread_id: str,
    namespaces: Sequence[str],
    run_ids: Sequence[str],
    claim: Claim | None,
) -> int | None:
    """Deletes the checkpoints and pending writes of the runs; returns the number of checkpoints.

    Returns None, without a change, if the thread has other namespaces than `namespaces`: read them again.

    Raises:
        FencedError: the caller lost the lease, or the run has ended.
    """
    dropped = await SCRIPT(
        redis,
        namespaces=keys.checkpoint_namespaces(thread_id),
        checkpoint_runs=keys.checkpoint_runs(thread_id),
        runs_with_checkpoints=keys.runs_with_checkpoints(),
        namespace_keys=namespace_keys_of(thread_id, namespaces),
        **fence_arguments(thread_id, claim),
        thread_id=thread_id,
        run_ids=run_ids,
        namespace_names=namespaces,
    )
    if dropped == FENCED:
        raise FencedError(
            "the rollback was refused: another worker holds the run, or the run has ended"
        )
    return None if dropped == OTHER_NAMESPACES else int(dropped)
