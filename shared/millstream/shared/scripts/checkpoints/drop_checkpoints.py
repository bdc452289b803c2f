"""Undo what runs stored: see drop_checkpoints.lua."""

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
    """Deletes the checkpoints and writes of the runs; returns how many checkpoints it were.

    Returns None, with nothing changed, if the thread has other namespaces than `namespaces`.

    Raises:
        FencedError: the lease is another's, or the run has ended.
    """
    dropped = await SCRIPT(
        redis,
        namespaces=keys.checkpoint_namespaces(thread_id),
        checkpoint_runs=keys.checkpoint_runs(thread_id),
        runs_with_checkpoints=keys.runs_with_checkpoints(),
        families=namespace_keys_of(thread_id, namespaces),
        **fence_arguments(thread_id, claim),
        thread_id=thread_id,
        run_ids=run_ids,
        namespace_names=namespaces,
    )
    if dropped == FENCED:
        raise FencedError("a rollback was refused: another worker holds the run, or it has ended")
    return None if dropped == OTHER_NAMESPACES else int(dropped)
