"""Measures common searches for threads over HTTP, with few threads and with many.

The ratio of the two shows whether a search stays fast while the number of threads grows.
"""

import asyncio
import random
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Final

from bench.client import Client
from harness.processes import FreshFleet
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import connect
from millstream.shared.scripts.threads.create_thread import SCRIPT, arguments
from millstream.shared.threads import new_thread_fields

FEW: Final = 1000
BATCH: Final = 500  # threads created in one round trip
QUERIES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "the newest 10": ("search", {}),
    "the newest 100": ("search", {"limit": 100, "select": ["thread_id", "metadata"]}),
    "by last update, page 20": ("search", {"sort_by": "updated_at", "offset": 190}),
    "of one user": ("search", {"metadata": {"user": "u7"}}),
    "of one user and graph": ("search", {"metadata": {"user": "u7", "graph_id": "g1"}}),
    "of one graph (a third)": ("search", {"metadata": {"graph_id": "g1"}}),
    "idle, of one graph": ("search", {"status": "idle", "metadata": {"graph_id": "g1"}}),
    "interrupted (one in 100)": ("search", {"status": "interrupted"}),
    "busy (none)": ("search", {"status": "busy"}),
    "count of all": ("count", {}),
    "count of one graph": ("count", {"metadata": {"graph_id": "g1"}}),
    "count of a user": ("count", {"metadata": {"user": "u7"}}),
}


async def make(url: str, number: int, first: int) -> None:
    """Creates threads: about 20 a user, of three graphs, one in a hundred interrupted."""
    redis = connect(url)
    dice = random.Random(first)
    try:
        for start in range(first, number, BATCH):
            calls = []
            for n in range(start, min(number, start + BATCH)):
                user = "u7" if n < 20 else f"u{dice.randrange(100, 100 + number // 20)}"
                fields = new_thread_fields({"user": user, "graph_id": f"g{n % 3}", "n": n})
                if n % 100 == 0:
                    fields |= {"status": "interrupted", "settled": "interrupted"}
                calls.append(arguments(str(uuid.uuid4()), "t", fields))
            await SCRIPT.many(redis, calls)
    finally:
        await redis.aclose()


async def timed(client: Client, times: int) -> dict[str, float]:
    """Returns the median of each query in ms."""
    medians = {}
    for name, (route, body) in QUERIES.items():
        took = []
        for _ in range(times):
            begun = time.perf_counter()
            await client.post(f"/threads/{route}", body)
            took.append((time.perf_counter() - begun) * 1e3)
        medians[name] = statistics.median(took)
    return medians


async def measure(number: int) -> None:
    """Prints ms a query with `FEW` and with `number` threads, and their ratio."""
    few = min(FEW, number // 2)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder), appendonly=False) as redis,
        FreshFleet(redis.url) as fleet,
    ):
        client = Client(fleet.api().wait_ready().url)
        await make(redis.url, few, 0)
        await timed(client, 3)
        before = await timed(client, 20)
        await make(redis.url, number, few)
        after = await timed(client, 20)
    print(f"{'threads':<28}{few:>10,}{number:>10,}{'ratio':>8}   ms a query over HTTP")
    for name, small in before.items():
        print(f"  {name:<26}{small:>10.1f}{after[name]:>10.1f}{after[name] / small:>8.1f}")


if __name__ == "__main__":
    asyncio.run(measure(100_000))
