"""What `GET /ok` says of the workers: it counts those that claim runs."""

from types import SimpleNamespace
from typing import Any

from harness.workers import report_worker
from millstream.api import health
from millstream.shared.redis import Client


async def test_workers_are_healthy_draining_or_missing(any_redis: Client) -> None:
    process: Any = SimpleNamespace(redis=any_redis)

    async def workers() -> str:
        return await health._workers(process)

    assert (await workers()).startswith("No worker is running")
    await report_worker(any_redis, "w1", "default", ttl=-1)
    assert (await workers()).startswith("No worker is running")
    await report_worker(any_redis, "w2", "default", draining_since=5)
    assert await workers() == (
        "All workers are draining (1): runs are admitted, and wait for another worker."
    )
    await report_worker(any_redis, "w3", "default")
    assert await workers() == "healthy"
