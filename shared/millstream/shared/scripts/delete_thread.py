"""Delete a retired thread: see delete_thread.lua."""

from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("delete_thread")


async def delete_thread(redis: Client, thread_id: str, others: Sequence[str]) -> bool:
    """Deletes the thread and `others`, keys that belong to it; False if a run is still alive."""
    return bool(await SCRIPT(redis, [keys.thread(thread_id), keys.waiting(thread_id), *others], []))
