"""Removes a queue from the list of queues: see forget_queue.lua."""

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("queues/forget_queue")


async def forget_queue(redis: Client, name: str) -> bool:
    """Removes the queue from the list if nothing needs it; returns whether it did."""
    reply = await SCRIPT(
        redis,
        queue=keys.queue(name),
        queue_workers=keys.queue_workers(name),
        paused=keys.paused(name),
        routes=keys.routes(),
        queues=keys.queues(),
        queue_name=name,
    )
    return bool(reply)
