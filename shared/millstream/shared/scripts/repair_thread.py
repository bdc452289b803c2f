"""Put a stuck thread right: see repair_thread.lua."""

from millstream.shared import keys
from millstream.shared.lifecycle import TERMINAL, ThreadStatus
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("repair_thread")


async def repair_thread(redis: Client, thread_id: str) -> str:
    """Returns what was done: see repair_thread.lua. Of a healthy thread nothing is changed."""
    reply = await SCRIPT(
        redis,
        [
            keys.thread(thread_id),
            keys.waiting(thread_id),
            keys.live(),
            *keys.threads_index(),
        ],
        [ThreadStatus.BUSY, thread_id, *sorted(TERMINAL)],
    )
    return str(reply.decode())
