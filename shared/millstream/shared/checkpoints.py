"""A thread's checkpoints as a whole: their namespaces, their order, their deletion."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts import Claim, drop_checkpoints
from millstream.shared.scripts.put_checkpoint import Place

FAMILY = (
    keys.checkpoint_index,
    keys.checkpoint_records,
    keys.checkpoint_references,
    keys.checkpoint_values,
    keys.checkpoint_writes,
)


async def namespaces(redis: Client, thread_id: str) -> list[str]:
    """Returns the checkpoint namespaces of the thread, sorted; '' is the root graph's."""
    members = await redis.smembers(keys.checkpoint_namespaces(thread_id))  # type: ignore[misc]
    return sorted(member.decode() for member in members)


async def newest_ids(redis: Client, place: Place, *, before: str | None, limit: int) -> list[str]:
    """Returns at most `limit` checkpoint ids, newest first; those before an id if one is given."""
    index = keys.checkpoint_index(place.thread_id, place.namespace)
    start = "+" if before is None else f"({before}"
    ids = await redis.zrevrangebylex(index, start, "-", start=0, num=limit)
    return [found.decode() for found in ids]


async def key_names(redis: Client, thread_id: str) -> list[str]:
    """Returns the names of all keys that hold the thread's checkpoints."""
    names = [
        key(thread_id, namespace)
        for namespace in await namespaces(redis, thread_id)
        for key in FAMILY
    ]
    return [keys.checkpoint_namespaces(thread_id), *names]


async def delete_thread(redis: Client, thread_id: str) -> None:
    """Deletes every checkpoint of the thread."""
    await redis.unlink(*await key_names(redis, thread_id))


async def roll_back(redis: Client, claim: Claim) -> None:
    """Undoes all that the claimed run stored, in every namespace; may be repeated.

    Raises:
        FencedError: the lease is another's, or the run has ended.
    """
    thread_id = claim.spec.thread_id
    for namespace in await namespaces(redis, thread_id):
        await drop_checkpoints(redis, Place(thread_id, namespace), claim)
