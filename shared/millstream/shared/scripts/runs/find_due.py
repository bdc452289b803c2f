"""Finds due jobs: see find_due.lua."""

import os

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/find_due")


async def find_due(redis: Client, queue: str, limit: int) -> tuple[list[str], float | None]:
    """Returns the ids of at most `limit` due jobs, and the seconds until the next job is due (None: no job).

    An id that is not UTF-8 is not Millstream's; `os.fsencode` returns its bytes.
    """
    next_ms, *ids = await SCRIPT(
        redis,
        queue=keys.queue(queue),
        limit=limit,
    )
    return [os.fsdecode(job) for job in ids], None if next_ms < 0 else next_ms / 1000
