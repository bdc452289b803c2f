"""All checkpoints of a thread: listing, deleting, pruning, copying and rolling back."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.scripts import Claim
from millstream.shared.scripts.checkpoints.namespace import namespace_keys_of


async def list_namespaces(redis: Client, thread_id: str) -> list[str]:
    """Returns the checkpoint namespaces of the thread, sorted; '' is the root graph's."""
    members = await redis.smembers(keys.checkpoint_namespaces(thread_id))  # type: ignore[misc]
    return sorted(member.decode() for member in members)


async def list_keys(redis: Client, thread_id: str) -> list[str]:
    """Returns all keys that hold the thread's checkpoints."""
    namespace_keys = namespace_keys_of(thread_id, await list_namespaces(redis, thread_id))
    return [keys.checkpoint_namespaces(thread_id), keys.checkpoint_runs(thread_id), *namespace_keys]


async def delete_thread(redis: Client, thread_id: str, claim: Claim | None = None) -> None:
    """Deletes every checkpoint of the thread, even while a run is active on it.

    Raises:
        FencedError: the claim lost its lease.
    """
    await _prune(redis, thread_id, claim, keep_latest=False, only_idle=False)


async def prune(
    redis: Client, thread_id: str, *, keep_latest: bool, claim: Claim | None = None
) -> int:
    """Deletes the thread's checkpoints; returns their number. May be repeated.

    Args:
        keep_latest: whether the newest checkpoint of each namespace stays, with the earlier ones that it
            is built from (channels that store only changes).
        claim: of a run that prunes; None outside of runs.

    Raises:
        ConflictError: another run is active on the thread and may have read what would be deleted.
        FencedError: the claim lost its lease.
    """
    is_own_thread = claim is not None and claim.spec.thread_id == thread_id
    return await _prune(
        redis, thread_id, claim, keep_latest=keep_latest, only_idle=not is_own_thread
    )


async def copy_thread(
    redis: Client, source_id: str, target_id: str, claim: Claim | None = None
) -> None:
    """Copies every checkpoint of a thread to another thread, which keeps its own. May be repeated.

    The caller creates the record of the target first, because checkpoints are deleted with their thread.

    Raises:
        FencedError: the claim lost its lease.
    """
    if source_id != target_id:
        await _with_namespaces(
            redis,
            source_id,
            lambda names: scripts.copy_checkpoints(redis, source_id, target_id, names, claim),
        )


async def delete_for_runs(
    redis: Client, run_ids: Iterable[str], claim: Claim | None = None
) -> None:
    """Deletes the checkpoints and writes that the runs stored in any thread, with one script call a thread.

    Raises:
        FencedError: the claim lost its lease.
    """
    threads: dict[str, list[str]] = defaultdict(list)
    for run_id in dict.fromkeys(run_ids):
        prefix = keys.run_in_thread(run_id, "").encode()
        # The upper bound is above every member with the prefix, because UTF-8 has no byte 0xFF.
        members = await redis.zrangebylex(
            keys.runs_with_checkpoints(), b"[" + prefix, b"(" + prefix + b"\xff"
        )
        for member in members:
            threads[member[len(prefix) :].decode()].append(run_id)
    for thread_id, stored_by in threads.items():
        await _drop(redis, thread_id, stored_by, claim)


async def roll_back(redis: Client, claim: Claim) -> None:
    """Deletes the checkpoints and writes of the claimed run in every namespace of its thread. May be repeated.

    Raises:
        FencedError: the claim lost its lease, or the run has ended.
    """
    await _drop(redis, claim.spec.thread_id, [claim.spec.run_id], claim)


async def _drop(redis: Client, thread_id: str, run_ids: list[str], claim: Claim | None) -> None:
    await _with_namespaces(
        redis,
        thread_id,
        lambda names: scripts.drop_checkpoints(redis, thread_id, names, run_ids, claim),
    )


async def _prune(
    redis: Client, thread_id: str, claim: Claim | None, *, keep_latest: bool, only_idle: bool
) -> int:
    return await _with_namespaces(
        redis,
        thread_id,
        lambda names: scripts.prune_checkpoints(
            redis, thread_id, names, claim, keep_latest=keep_latest, only_idle=only_idle
        ),
    )


async def _with_namespaces(
    redis: Client, thread_id: str, change: Callable[[list[str]], Awaitable[int | None]]
) -> int:
    """Calls a script with the thread's namespaces, again if they have changed meanwhile."""
    while True:
        changed = await change(await list_namespaces(redis, thread_id))
        if changed is not None:
            return changed
