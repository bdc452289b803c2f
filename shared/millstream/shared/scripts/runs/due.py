"""Look for due jobs: see due.lua."""

import os

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/due")


async def due(redis: Client, queue: str, limit: int) -> tuple[list[str], float | None]:
    """Returns the ids of due jobs, at most `most`, and the seconds until the next one after them.

    What is no UTF-8 is none of ours; `os.fsencode` gives its bytes back.
    """
    later, *ids = await SCRIPT(
        redis,
        queue=keys.queue(queue),
        limit=limit,
    )
    return [os.fsdecode(job) for job in ids], None if later < 0 else later / 1000
