"""Finds due jobs in their order, after runs that became due got their tags: see tag_due.lua."""

import os
from collections.abc import Sequence

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts.runs.find_due import read_due
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/tag_due")


async def tag_due_in(
    redis: Client, queues: Sequence[str], limit: int
) -> list[tuple[list[str], float | None]]:
    """Returns what `find_due_in` returns, after runs that became due got their tags.

    A caller that can claim all due jobs needs no order: only more than `limit` due jobs cost further round trips.
    """
    due_jobs = await read_due(redis, queues, limit)
    calls = []
    for queue, due in zip(queues, due_jobs, strict=True):
        jobs = [job for job in due.untagged if keys.decode_job_id(os.fsencode(job)) is not None]
        if jobs and len(due.jobs) > limit:
            calls.append(
                {
                    "queue": keys.queue(queue),
                    "records": [keys.run(*keys.parse_job_id(job)) for job in jobs],
                    "pending": RunStatus.PENDING,
                    "default_share": keys.share(queue),
                    "jobs": jobs,
                }
            )
    if calls and any(await SCRIPT.many(redis, calls)):
        due_jobs = await read_due(redis, queues, limit)
    return [(due.jobs[:limit], due.later) for due in due_jobs]
