"""A worker for the graphs of `fields.json`, beside those of the running system."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from redis import Redis

from harness.leaks import leaked
from harness.processes import Fleet
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import connect

CONFIG = Path(__file__).with_name("fields.json")
QUEUE = "fields"
GRAPHS = tuple(json.loads(CONFIG.read_text())["graphs"])


@contextlib.contextmanager
def fields_worker(redis_url: str) -> Iterator[None]:
    """Serves the graphs on a queue of their own; takes every trace of it away at the end."""
    with Fleet(redis_url) as fleet:
        worker = fleet.worker(CONFIG, queue=QUEUE).wait_ready()
        try:
            yield
        finally:
            worker.stop()
            with Redis.from_url(redis_url) as redis:
                redis.hdel(keys.graphs(), *GRAPHS)
                redis.delete(keys.queue(QUEUE), keys.wake(QUEUE))
                lanes = map(keys.lane, GRAPHS)
                redis.delete(*(key(lane) for lane in lanes for key in (keys.calls, keys.workers)))


async def check_leaks(redis_url: str) -> None:
    """Fails if keys are left that nothing would ever delete."""
    redis = connect(redis_url)
    left: list[str] = []

    async def clean() -> bool:
        left[:] = await leaked(redis, ("default", QUEUE))
        return not left

    try:
        with contextlib.suppress(AssertionError):
            await until(clean, within=10)
        assert left == []
    finally:
        await redis.aclose()
