"""A thread's checkpoints as a whole: their namespaces; deleted, pruned, copied, taken back."""

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


async def key_names(redis: Client, thread_id: str) -> list[str]:
    """Returns the names of all keys that hold the thread's checkpoints."""
    names = namespace_keys_of(thread_id, await list_namespaces(redis, thread_id))
    return [keys.checkpoint_namespaces(thread_id), keys.checkpoint_runs(thread_id), *names]


async def delete_thread(redis: Client, thread_id: str, claim: Claim | None = None) -> None:
    """Deletes every checkpoint of the thread, also under a run that is active on it.

    Raises:
        FencedError: a claim is given, and its lease is lost.
    """
    await _prune(redis, thread_id, claim, keep_latest=False, only_idle=False)


async def prune(
    redis: Client, thread_id: str, *, keep_latest: bool, claim: Claim | None = None
) -> int:
    """Deletes the thread's checkpoints; returns how many it were. May be repeated.

    Args:
        keep_latest: keep the newest checkpoint of each namespace, and those before it that it
            can't be read without (channels that store only changes).
        claim: the lease of a run that prunes its own thread.

    Raises:
        ConflictError: a run is active on the thread; what it has read would go.
        FencedError: a claim is given, and its lease is lost.
    """
    own = claim is not None and claim.spec.thread_id == thread_id
    return await _prune(redis, thread_id, claim, keep_latest=keep_latest, only_idle=not own)


async def copy_thread(
    redis: Client, source_id: str, target_id: str, claim: Claim | None = None
) -> None:
    """Copies every checkpoint of a thread to another, beside those that it has.

    The record of the target's thread is the caller's business: make it first, since checkpoints
    are deleted with their thread. May be repeated.

    Raises:
        FencedError: a claim is given, and its lease is lost.
    """
    if source_id != target_id:
        await _with_namespaces(
            redis,
            source_id,
            lambda found: scripts.copy_checkpoints(redis, source_id, target_id, found, claim),
        )


async def delete_for_runs(
    redis: Client, run_ids: Iterable[str], claim: Claim | None = None
) -> None:
    """Deletes all that the runs stored, in whichever threads; one script a thread.

    Raises:
        FencedError: a claim is given, and its lease is lost.
    """
    threads: dict[str, list[str]] = defaultdict(list)
    for run_id in dict.fromkeys(run_ids):
        first = keys.run_in_thread(run_id, "").encode()
        # Behind every continuation of the prefix: UTF-8 has no byte 0xFF.
        members = await redis.zrangebylex(
            keys.runs_with_checkpoints(), b"[" + first, b"(" + first + b"\xff"
        )
        for member in members:
            threads[member[len(first) :].decode()].append(run_id)
    for thread_id, stored in threads.items():
        await _drop(redis, thread_id, stored, claim)


async def roll_back(redis: Client, claim: Claim) -> None:
    """Undoes all that the claimed run stored, in every namespace; may be repeated.

    Raises:
        FencedError: the lease is another's, or the run has ended.
    """
    await _drop(redis, claim.spec.thread_id, [claim.spec.run_id], claim)


async def _drop(redis: Client, thread_id: str, run_ids: list[str], claim: Claim | None) -> None:
    await _with_namespaces(
        redis,
        thread_id,
        lambda found: scripts.drop_checkpoints(redis, thread_id, found, run_ids, claim),
    )


async def _prune(
    redis: Client, thread_id: str, claim: Claim | None, *, keep_latest: bool, only_idle: bool
) -> int:
    return await _with_namespaces(
        redis,
        thread_id,
        lambda found: scripts.prune_checkpoints(
            redis, thread_id, found, claim, keep_latest=keep_latest, only_idle=only_idle
        ),
    )


async def _with_namespaces(
    redis: Client, thread_id: str, change: Callable[[list[str]], Awaitable[int | None]]
) -> int:
    """Calls a script with the thread's namespaces until nobody added one meanwhile."""
    while True:
        done = await change(await list_namespaces(redis, thread_id))
        if done is not None:
            return done
