"""A system for these tests: two APIs (one with a grace for disconnects) and two workers."""

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from e2e.strategies.client import Client, NodeLog
from harness.leaks import leaked
from harness.processes import Fleet, Process
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import Client as Redis
from millstream.shared.redis import connect

CONFIG = Path(__file__).parent / "langgraph.json"
GRACE = 1.0  # s


@dataclass(frozen=True)
class StrategyCluster:
    """The processes that all tests share."""

    fleet: Fleet
    api: Process
    grace_api: Process  # an API with a grace for disconnected clients


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrategyCluster]:
    """The running system; tests leave it running."""
    with (
        EmbeddedRedis(tmp_path_factory.mktemp("cluster"), appendonly=False) as server,
        Fleet(server.url, N_JOBS_PER_WORKER="20", KEEPALIVE_INTERVAL_SECS="0.2") as fleet,
    ):
        api, grace_api = fleet.api(), fleet.api(DISCONNECT_GRACE_SECS=str(GRACE))
        for worker in [fleet.worker(CONFIG), fleet.worker(CONFIG)]:
            worker.wait_ready()
        yield StrategyCluster(fleet, api.wait_ready(), grace_api.wait_ready())


@pytest.fixture
async def redis(cluster: StrategyCluster) -> AsyncIterator[Redis]:
    """A client on the database of the cluster."""
    client = connect(cluster.fleet.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def client(cluster: StrategyCluster, redis: Redis) -> AsyncIterator[Client]:
    """A client of the first API. Fails if the test leaks a key."""
    async with httpx.AsyncClient(base_url=cluster.api.url, timeout=30) as http:
        yield Client(http)

    async def clean() -> bool:
        queues = [k.decode().split(":")[2] async for k in redis.scan_iter("ms:queue:*")]
        return not await leaked(redis, tuple(queues))

    await until(clean, within=10, what=f"no leaked keys, but {await leaked(redis)}")


@pytest.fixture
async def grace_client(cluster: StrategyCluster) -> AsyncIterator[Client]:
    """A client of the API with a grace."""
    async with httpx.AsyncClient(base_url=cluster.grace_api.url, timeout=30) as http:
        yield Client(http)


@pytest.fixture
def log(tmp_path: Path) -> NodeLog:
    """The file in which nodes note what they do."""
    return NodeLog(tmp_path / "log")


@dataclass(frozen=True)
class PrivateQueue:
    """A queue for one graph under a unique name, with workers that a test may kill."""

    fleet: Fleet
    config: Path
    queue: str
    graph: str

    def worker(self, **env: str) -> Process:
        """Starts a worker of the queue; call `wait_ready()` on it."""
        return self.fleet.worker(self.config, self.queue, **{"LEASE_SECS": "1", **env})


@pytest.fixture
def private_queue(
    cluster: StrategyCluster, tmp_path: Path
) -> Iterator[Callable[[str], PrivateQueue]]:
    """Makes private queues for graphs of `graphs.py`. Their workers end after the test."""
    fleets: list[Fleet] = []

    def make(graph: str) -> PrivateQueue:
        name = f"{graph}_{uuid.uuid4().hex[:8]}"
        config = tmp_path / f"{name}.json"
        source = f"{CONFIG.parent / 'graphs.py'}:{graph}"
        config.write_text(
            json.dumps({"dependencies": [], "graphs": {name: source}}), encoding="utf-8"
        )
        fleet = Fleet(cluster.fleet.redis_url)
        fleets.append(fleet)
        return PrivateQueue(fleet, config, name, name)

    yield make
    for fleet in fleets:
        fleet.__exit__(None, None, None)
