"""Deletes the checkpoints of temporary threads whose last run has ended, and of deleted threads.

The script that ends the run also adds the thread to the garbage. So if a worker dies between the run's end and the
deletion, another worker sweeps the thread.
"""

import logging
import time
from typing import Final

from millstream.shared import keys
from millstream.shared.redis import OUTAGE_ERRORS, Client
from millstream.worker.checkpoints.checkpointing import Checkpointing

log = logging.getLogger(__name__)

BATCH: Final = 50  # threads


async def run_once(redis: Client, checkpointing: Checkpointing) -> None:
    """Sweeps all threads in the garbage, oldest first.

    Two workers may sweep the same thread: a repeated deletion changes nothing.
    """
    while await _sweep(redis, checkpointing) == BATCH:
        pass  # a full batch: there may be more


async def _sweep(redis: Client, checkpointing: Checkpointing) -> int:
    """Sweeps a batch; returns the number of its threads."""
    members = await redis.zrange(keys.garbage(), 0, BATCH - 1)
    swept = 0
    for member in members:
        job = keys.decode_job_id(member)
        if job is None:
            log.error("removed %r from the garbage: it is not the id of a job", member)
            await redis.zrem(keys.garbage(), member)
            continue
        thread_id, _ = keys.parse_job_id(job)
        try:
            if not await redis.exists(keys.thread(thread_id)):  # else a client created it again
                await checkpointing.delete(thread_id)
        except OUTAGE_ERRORS:  # of Redis, not of this thread
            raise
        except Exception:  # the other threads must not wait for it
            log.exception(
                "the checkpoints of thread %s can't be deleted; the sweep will try again", thread_id
            )
            await redis.zadd(keys.garbage(), {job: time.time() * 1000}, xx=True)
        else:
            swept += await redis.zrem(keys.garbage(), job)
    return swept
