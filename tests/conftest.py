"""Fixtures that every tier shares: a real Redis, clients on it, and a running system."""

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import fakeredis
import httpx
import pytest
from _pytest.nodeid import coerce_node_id

from harness.blocking import nothing_blocks
from harness.leaks import leaked, wait_for_no_leaks
from harness.least_permissions import create_user, denied_to
from harness.processes import EXAMPLES, Fleet, Process
from harness.scraping import free_port
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.permissions import Role
from millstream.shared.redis import Client, connect


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests of one module, and of one `xdist_group`, in one process of pytest-xdist.

    So each cluster is started once. pytest-xdist 3.8 sets an attribute for groups that pytest 9.2 does not read.
    """
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        group = next((str(mark.args[0]) for mark in item.iter_markers("xdist_group")), None)
        item._id = coerce_node_id(f"{item.nodeid}@{group or item.nodeid.partition('::')[0]}")


def pytest_collection_finish() -> None:
    """Excludes what exists now, which stays until the end, from all further garbage collections."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def blocking_check() -> Iterator[list[str]]:
    """The calls of Millstream that blocked an event loop of this process since they were last looked at."""
    blocked: list[str] = []
    with nothing_blocks(blocked.append):
        yield blocked


@pytest.fixture(autouse=True)
def blocking_calls(blocking_check: list[str]) -> Iterator[list[str]]:
    """What Millstream does in the test's event loop must not block it, even if the error is caught."""
    yield blocking_check
    blocked, blocking_check[:] = "\n".join(blocking_check), []
    assert not blocked, blocked


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real server with the modules, for all tests of this process."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), appendonly=False) as server:
        yield server


async def empty_database(server: EmbeddedRedis) -> AsyncIterator[Client]:
    client = connect(server.url.rpartition("/")[0] + "/1")
    await client.flushdb()
    try:
        yield client
        assert await leaked(client) == []
    finally:
        await client.aclose()


@pytest.fixture
async def real_redis(redis_server: EmbeddedRedis) -> AsyncIterator[Client]:
    """A client on an empty database of the real server, apart from the running system's.

    Fails if the test leaks a key (harness.leaks).
    """
    async for client in empty_database(redis_server):
        yield client


@pytest.fixture(params=["fakeredis", "real"])
async def any_redis(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """Runs the test on fakeredis and on a real server. Fails if the test leaks a key."""
    if request.param == "real":
        async for client in empty_database(request.getfixturevalue("redis_server")):
            yield client
    else:
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        yield client
        assert await leaked(client) == []
        await client.aclose()


class System:
    """One API and one worker on a Redis, serving the example graphs, for many tests."""

    def __init__(self, fleet: Fleet, api: Process, worker: Process) -> None:
        self.fleet = fleet
        self.api = api
        self.worker = worker

    @property
    def url(self) -> str:
        return self.api.url

    @property
    def worker_url(self) -> str:
        """Where the worker serves its metrics."""
        return self.worker.metrics_url


@pytest.fixture(scope="session")
def system(redis_server: EmbeddedRedis) -> Iterator[System]:
    """The running system on database 0; tests leave it running.

    Its processes have the Redis users of `millstream acl`, so each test finds a permission that these lack.
    """
    urls = {role: create_user(redis_server, role) for role in Role}
    with Fleet(redis_server.url, N_JOBS_PER_WORKER="20") as fleet:
        api = fleet.api(REDIS_URL=urls[Role.API])
        worker = fleet.worker(EXAMPLES, REDIS_URL=urls[Role.WORKER], METRICS_PORT=str(free_port()))
        yield System(fleet, api.wait_ready(), worker.wait_ready())
        for role in Role:
            assert not denied_to(redis_server, role), role


@pytest.fixture
async def http(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client of the running system; after the test no key may be left over."""
    async with httpx.AsyncClient(base_url=system.url, timeout=30) as client:
        yield client
    redis = connect(system.fleet.redis_url)
    try:
        await wait_for_no_leaks(redis)
    finally:
        await redis.aclose()


@pytest.fixture
def graphs_folder(tmp_path: Path) -> Path:
    """An empty folder for a langgraph.json of the test's own."""
    return tmp_path
