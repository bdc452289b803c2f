"""Reports of workers that only the records know."""

from collections.abc import Sequence
from typing import Any

from millstream.shared import workers
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.wire import WorkerRecord


async def report_worker(
    redis: Client,
    worker_id: str,
    *queues: str,
    calls: Sequence[str] = (),
    ttl: float = 30.0,
    **fields: Any,
) -> WorkerRecord:
    """Reports a worker that executes runs of the queues, for `ttl` seconds; with a ttl below 0 it counts as lost."""
    worker = WorkerRecord(worker_id=worker_id, queues=list(queues), **fields)
    await workers.report(redis, worker, calls, now=await redis_time(redis), ttl=ttl)
    return worker
