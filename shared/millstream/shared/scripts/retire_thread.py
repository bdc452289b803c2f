"""Close a thread to new runs: see retire_thread.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("retire_thread")


async def retire_thread(redis: Client, thread_id: str) -> bool:
    """Admits no more runs to the thread; returns False if there is no such thread."""
    return bool(await SCRIPT(redis, [keys.thread(thread_id), keys.retired()], [thread_id]))
