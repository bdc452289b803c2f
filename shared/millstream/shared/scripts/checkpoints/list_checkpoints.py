"""Reads a page of checkpoints: see list_checkpoints.lua."""

from millstream.shared.redis import Client
from millstream.shared.scripts.checkpoints.get_checkpoint import StoredCheckpoint
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace, namespace_keys
from millstream.shared.scripts.script import Script
from millstream.shared.wire import unpack_list

SCRIPT = Script("checkpoints/list_checkpoints")


async def list_checkpoints(
    redis: Client, namespace: CheckpointNamespace, *, before: str | None, count: int
) -> tuple[list[StoredCheckpoint], str | None]:
    """Returns a page of at most `count` checkpoints, newest first, and where the next page begins.

    Args:
        before: an id: only checkpoints before it are returned; None to begin with the newest.

    The second result is `before` of the next page; None after the last page.
    """
    upper = "+" if before is None else f"({before}"
    entries, shared = await SCRIPT(
        redis, upper=upper, count=count, **namespace_keys(namespace.thread_id, namespace.name)
    )
    values = dict(zip(shared[::2], shared[1::2], strict=True))
    checkpoints = []
    for checkpoint_id, record, references, writes in entries:
        if not record:
            continue
        _, parent, _, *fields = unpack_list(references)
        own_values = {field: values[field] for field in fields if field in values}
        checkpoints.append(
            StoredCheckpoint(checkpoint_id.decode(), parent.decode(), record, writes, own_values)
        )
    return checkpoints, entries[-1][0].decode() if len(entries) == count else None
