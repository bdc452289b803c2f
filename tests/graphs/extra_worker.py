"""A worker for graphs of the tests, in addition to the worker of the running system."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from redis import Redis

from harness.leaks import leaked
from harness.processes import Fleet, Process
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import connect

HERE = Path(__file__).parent
QUEUES = ("fields", "failing")  # each named after its langgraph.json


@contextlib.contextmanager
def run_worker(redis_url: str, name: str, **env: str) -> Iterator[Process]:
    """Serves the graphs of `<name>.json` on their own queue. Deletes all its keys at the end."""
    config = HERE / f"{name}.json"
    graphs = tuple(json.loads(config.read_text())["graphs"])
    with Fleet(redis_url, **env) as fleet:
        worker = fleet.worker(config, queue=name).wait_ready()
        try:
            yield worker
        finally:
            worker.stop()
            with Redis.from_url(redis_url) as redis:
                redis.hdel(keys.graphs(), *graphs)
                per_queue = (keys.queue, keys.wake, keys.backlog, keys.queue_workers)
                redis.delete(*(key(name) for key in per_queue))
                redis.srem(keys.queues(), name)
                queues = map(keys.call_queue, graphs)
                redis.delete(
                    *(key(queue) for queue in queues for key in (keys.calls, keys.workers))
                )


async def check_leaks(redis_url: str) -> None:
    """Fails if keys are left that nothing would delete."""
    redis = connect(redis_url)
    left: list[str] = []

    async def clean() -> bool:
        left[:] = await leaked(redis, ("default", *QUEUES))
        return not left

    try:
        with contextlib.suppress(AssertionError):
            await until(clean, within=10)
        assert left == []
    finally:
        await redis.aclose()
