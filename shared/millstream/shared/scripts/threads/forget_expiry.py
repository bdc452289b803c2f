"""Take a thread out of those that expire: see forget_expiry.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("threads/forget_expiry")


async def forget_expiry(redis: Client, thread_id: str, due_ms: float) -> bool:
    """Clears the thread's entry if it is still due at `due_ms`; returns whether it did."""
    return bool(
        await SCRIPT(
            redis,
            expiring=keys.expiring(),
            thread_id=thread_id,
            due=due_ms,
        )
    )
