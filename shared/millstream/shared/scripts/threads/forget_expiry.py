"""Removes a thread's expiry: see forget_expiry.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("threads/forget_expiry")


async def forget_expiry(redis: Client, thread_id: str, due_ms: float) -> bool:
    """Removes the expiry if it is still at most `due_ms`; returns whether it did."""
    return bool(
        await SCRIPT(
            redis,
            expiring=keys.expiring(),
            thread_id=thread_id,
            due=due_ms,
        )
    )
