"""500 runs of 20 clients on 10 threads, with every strategy, over 2 APIs and 3 workers."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.strategies.client import Client, StreamedResponse
from e2e.strategies.conftest import CONFIG, StrategyCluster
from millstream.shared import keys
from millstream.shared.redis import Client as Redis

RUNS, CLIENTS, THREADS = 500, 20, 10
STRATEGIES = ["enqueue"] * 6 + ["interrupt"] * 2 + ["rollback"] * 2 + ["reject"]
WAYS = ["runs/stream", "runs/stream", "runs/wait", "runs"]


class Clients:
    """The clients, and the ends of their runs."""

    def __init__(self, apis: list[Client], threads: list[str], folder: Path) -> None:
        self.apis = apis
        self.threads = threads
        self.folder = folder
        self.left = RUNS
        self.rejected = 0
        self.ended: list[tuple[str, str, str]] = []  # thread, run, status by `end`

    async def request_runs(self, seed: int) -> None:
        """Requests runs one after the other, until all runs have been admitted."""
        choose = random.Random(seed)
        while self.left > 0:
            self.left -= 1
            if not await self._run(choose):
                self.left += 1
                self.rejected += 1

    async def _run(self, choose: random.Random) -> bool:
        """Requests one run and follows it. Returns False if it was rejected."""
        api, thread = choose.choice(self.apis), choose.choice(self.threads)
        way, strategy = choose.choice(WAYS), choose.choice(STRATEGIES)
        body = api.body(
            "locked", left=choose.randint(1, 3), delay=choose.uniform(0.002, 0.015),
            folder=self.folder, multitask_strategy=strategy,
        )  # fmt: skip
        answer = await api.follow("POST", f"/threads/{thread}/{way}", body)
        if answer.status == 409:
            assert strategy == "reject"
            await answer.answer()
            return False
        assert answer.status == 200, answer.text
        run = answer.run_id
        if way == "runs":
            other = choose.choice(self.apis)
            path = f"/threads/{thread}/runs/{run}/stream"
            answer = await other.follow("GET", path, headers={"last-event-id": "0"})
            if answer.status == 404:  # it was rolled back before this request
                self.ended.append((thread, run, "interrupted"))
                return True
        status = ""
        if isinstance(answer, StreamedResponse) and way != "runs/wait":
            status = await answer.ended(within=60)
        else:
            await answer.answer(within=60)
        self.ended.append((thread, run, status))
        return True


@pytest.mark.timeout(180)
async def test_five_hundred_runs_with_every_strategy_each_end_once(
    cluster: StrategyCluster,
    client: Client,
    grace_client: Client,
    redis: Redis,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    third = cluster.fleet.worker(CONFIG).wait_ready()
    clients = Clients(
        [client, grace_client], [await client.thread() for _ in range(THREADS)], tmp_path
    )
    begun = time.perf_counter()
    try:
        await asyncio.gather(*(clients.request_runs(seed) for seed in range(CLIENTS)))
        wall = time.perf_counter() - begun
        assert len(clients.ended) == RUNS
        outcomes = await asyncio.gather(*(outcome(client, redis, *run) for run in clients.ended))
    finally:
        third.stop()
    counted = Counter(outcomes)
    record_property("outcomes", dict(counted))
    record_property("seconds", round(wall, 1))
    print(f"{RUNS} runs in {wall:.1f} s, {clients.rejected} rejected:", dict(counted))  # noqa: T201
    assert set(counted) == {"success", "interrupted", "gone"}

    assert os.listdir(tmp_path) == []  # no lock is held, and none was broken
    assert await redis.zcard(keys.queue("default")) == 0
    assert await redis.scard(keys.live()) == 0  # type: ignore[misc]
    for thread in clients.threads:
        assert not await redis.exists(keys.waiting(thread))
        assert not await redis.hexists(keys.thread(thread), "active")  # type: ignore[misc]
        assert (await client.thread_record(thread))["status"] in ("idle", "interrupted")


async def outcome(client: Client, redis: Redis, thread: str, run: str, end_status: str) -> str:
    """Returns the status of a run. Fails unless it has one end, with the status that its client got."""
    entries: list[Any] = await redis.xrange(keys.events(thread, run))
    ends = [fields[b"end"] for _, fields in entries if b"end" in fields]
    assert len(ends) == 1, (run, entries)
    assert b"end" in entries[-1][1]
    status = await client.status(thread, run)
    record = "interrupted" if status == "gone" else status
    assert ends[0] == b'{"status":"%b"}' % record.encode()
    assert end_status in ("", record)
    return status
