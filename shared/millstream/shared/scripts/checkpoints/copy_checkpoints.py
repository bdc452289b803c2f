"""Copies a thread's checkpoints to another thread: see copy_checkpoints.lua."""

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

SCRIPT = Script("checkpoints/copy_checkpoints")


async def copy_checkpoints(
    redis: Client,
    source_id: str,
    target_id: str,
    namespaces: Sequence[str],
    claim: Claim | None,
) -> int | None:
    """Copies every checkpoint; returns their number. A repeat changes nothing.

    Returns None, without a change, if the source has other namespaces than `namespaces`: read them again.

    Raises:
        FencedError: the caller lost the lease, or the run has ended.
    """
    pairs = zip(
        namespace_keys_of(source_id, namespaces),
        namespace_keys_of(target_id, namespaces),
        strict=True,
    )
    copied = await SCRIPT(
        redis,
        namespaces=keys.checkpoint_namespaces(source_id),
        target_namespaces=keys.checkpoint_namespaces(target_id),
        checkpoint_runs=keys.checkpoint_runs(source_id),
        target_checkpoint_runs=keys.checkpoint_runs(target_id),
        runs_with_checkpoints=keys.runs_with_checkpoints(),
        namespace_keys=[key for pair in pairs for key in pair],
        thread_id=target_id,
        namespace_names=namespaces,
        **fence_arguments(target_id, claim),
    )
    if copied == FENCED:
        raise FencedError(
            "the copy was refused: another worker holds the run, or the run has ended"
        )
    return None if copied == OTHER_NAMESPACES else int(copied)
