"""Finds due jobs: see find_due.lua."""

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script

SCRIPT = Script("runs/find_due")
MAX_UNTAGGED: Final = 100  # due jobs without a tag that one call returns


class DueJobs(NamedTuple):
    """The due jobs of a queue in the order in which they are claimed, at most `MAX_UNTAGGED` + `limit`."""

    jobs: list[str]
    untagged: list[str]  # the first of `jobs`: those without a tag (parts/fair_queue.lua)
    later: float | None  # s until the next job is due; None if there is none


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
    return [(due.jobs[:limit], due.later) for due in await read_due(redis, queues, limit)]


async def read_due(redis: Client, queues: Sequence[str], limit: int) -> list[DueJobs]:
    """Returns the due jobs of each queue, in one round trip; of those with a tag at most `limit`."""
    replies = await SCRIPT.many(
        redis,
        [
            {
                "queue": keys.queue(name),
                "paused": keys.paused(name),
                "limit": limit,
                "max_untagged": MAX_UNTAGGED,
            }
            for name in queues
        ],
    )
    due = []
    for next_ms, untagged, *ids in replies:
        jobs = [os.fsdecode(job) for job in ids]
        due.append(DueJobs(jobs, jobs[:untagged], None if next_ms < 0 else next_ms / 1000))
    return due
