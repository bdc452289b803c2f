"""Close a thread to new runs: see retire_thread.lua."""

from typing import Literal

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("retire_thread")


async def retire_thread(
    redis: Client, thread_id: str, when: Literal["now", "idle", "due"] = "now"
) -> str:
    """Admits no more runs to the thread; returns the script's word for what happened.

    `when` says under which condition: see the script.
    """
    reply = await SCRIPT(
        redis,
        [
            keys.thread(thread_id),
            keys.retired(),
            keys.runs(thread_id),
            keys.live(),
            keys.expiring(),
            *keys.threads_index(),
        ],
        [thread_id, when],
    )
    return str(reply.decode())
