"""Resumes a paused queue: see resume_queue.lua."""

from typing import Literal, cast

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("queues/resume_queue")
Reply = Literal["resumed", "not_paused", "unknown"]


async def resume_queue(redis: Client, name: str) -> Reply:
    """Resumes the queue and wakes workers for its due runs; returns the script's status."""
    reply = await SCRIPT(
        redis,
        queue=keys.queue(name),
        wake=keys.wake(name),
        paused=keys.paused(name),
        queues=keys.queues(),
        queue_name=name,
    )
    return cast("Reply", reply.decode())
