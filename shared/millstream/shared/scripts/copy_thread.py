"""Copy a thread with its state: see copy_thread.lua."""

from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.place import families
from millstream.shared.scripts.script import Script

SCRIPT = Script("copy_thread")


async def copy_thread(
    redis: Client, source_id: str, target_id: str, namespaces: Sequence[str]
) -> str:
    """Makes the target of a source with these namespaces; returns the script's word for it."""
    pairs = zip(families(source_id, namespaces), families(target_id, namespaces), strict=True)
    reply = await SCRIPT(
        redis,
        [
            keys.thread(source_id),
            keys.thread(target_id),
            keys.checkpoint_namespaces(source_id),
            keys.checkpoint_namespaces(target_id),
            keys.checkpoint_runs(source_id),
            keys.checkpoint_runs(target_id),
            keys.ran(),
            keys.expiring(),
            *(key for pair in pairs for key in pair),
            *keys.threads_index(),
        ],
        [target_id, *namespaces],
    )
    return str(reply.decode())
