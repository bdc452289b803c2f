"""Finds due jobs: see find_due.lua."""

import os
from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/find_due")


async def find_due(redis: Client, queue: str, limit: int) -> tuple[list[str], float | None]:
    """Returns the ids of at most `limit` due jobs, and the seconds until the next job is due (None: no job).

    A paused queue has no due jobs. An id that is not UTF-8 is not Millstream's; `os.fsencode` returns its bytes.
    """
    [due_jobs] = await find_due_in(redis, [queue], limit)
    return due_jobs


async def find_due_in(
    redis: Client, queues: Sequence[str], limit: int
) -> list[tuple[list[str], float | None]]:
    """Returns what `find_due` returns for each of the queues, in one round trip."""
    replies = await SCRIPT.many(
        redis,
        [
            {"queue": keys.queue(name), "paused": keys.paused(name), "limit": limit}
            for name in queues
        ],
    )
    return [
        ([os.fsdecode(job) for job in ids], None if next_ms < 0 else next_ms / 1000)
        for next_ms, *ids in replies
    ]
