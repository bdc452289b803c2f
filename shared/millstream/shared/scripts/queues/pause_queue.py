"""Pauses a queue: see pause_queue.lua."""

from dataclasses import dataclass
from typing import Any

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("queues/pause_queue")
FIELDS = ("at", "by", "reason")


@dataclass(frozen=True, slots=True)
class Pause:
    """The record of a paused queue."""

    at: int  # µs
    by: str  # the user, '' if unknown
    reason: str  # '' for none


def parse_pause(values: list[Any]) -> Pause | None:
    """Returns the pause from the values of `FIELDS`; None without a record."""
    at, by, reason = values
    if at is None:
        return None
    return Pause(int(at), *((text or b"").decode(errors="replace") for text in (by, reason)))


async def pause_queue(redis: Client, name: str, *, by: str = "", reason: str = "") -> Pause | None:
    """Pauses the queue; returns its pause, of which an earlier one stays. Returns None for an unknown queue."""
    reply = await SCRIPT(
        redis,
        paused=keys.paused(name),
        queues=keys.queues(),
        queue_name=name,
        by=by,
        reason=reason,
    )
    return parse_pause(reply) if reply else None
