"""Deletes the checkpoints of temporary threads whose last run has ended, and of deleted threads.

The script that ends the run also adds the thread to the garbage, so a worker that dies between the two leaves nothing
behind: any other worker sweeps it.
"""

import logging
import time
from typing import Final

from millstream.shared import keys
from millstream.shared.redis import OUTAGE_ERRORS, Client
from millstream.worker.checkpoints.checkpointing import Checkpointing

log = logging.getLogger(__name__)

BATCH: Final = 50


async def run_once(redis: Client, checkpointing: Checkpointing) -> None:
    """Sweeps all such threads, oldest first.

    Two workers may sweep the same thread: a repeated deletion changes nothing.
    """
    while await _sweep(redis, checkpointing) == BATCH:
        pass  # a full batch: there may be more


async def _sweep(redis: Client, checkpointing: Checkpointing) -> int:
    """Sweeps a batch; returns how many threads it was."""
    jobs = await redis.zrange(keys.garbage(), 0, BATCH - 1)
    swept = 0
    for word in jobs:
        job = keys.decode_job_id(word)
        if job is None:
            log.error("the garbage holds %r, which is no job of ours; it is taken out", word)
            await redis.zrem(keys.garbage(), word)
            continue
        thread_id, _ = keys.parse_job_id(job)
        try:
            if not await redis.exists(keys.thread(thread_id)):  # else a client created it again
                await checkpointing.delete(thread_id)
        except OUTAGE_ERRORS:  # of Redis, not of this thread
            raise
        except Exception:  # the other threads must not wait for it
            log.exception(
                "the checkpoints of thread %s can't be deleted; this will be tried again", thread_id
            )
            await redis.zadd(keys.garbage(), {job: time.time() * 1000}, xx=True)
        else:
            swept += await redis.zrem(keys.garbage(), job)
    return swept
