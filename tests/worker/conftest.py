"""Fixtures of the worker's tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from graphs import extra_worker
from harness.processes import Fleet, Process
from harness.redis_modules import require_modules
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import Client, connect


class System(Protocol):
    """The running system, as these tests use it."""

    fleet: Fleet

    @property
    def url(self) -> str: ...


@pytest.fixture(scope="module")
def fields_worker(system: System) -> Iterator[None]:
    """A worker for the graphs of tests/graphs/fields.json, in addition to the system's."""
    with extra_worker.run_worker(system.fleet.redis_url, "fields"):
        yield


@pytest.fixture
async def web(system: System, fields_worker: None) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the system with that worker. Fails if the test leaks a key."""
    async with httpx.AsyncClient(base_url=system.url, timeout=30) as client:
        yield client
    await extra_worker.check_leaks(system.fleet.redis_url)


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real server with modules, which no running system uses."""
    require_modules()
    with EmbeddedRedis(tmp_path_factory.mktemp("store"), appendonly=False) as server:
        yield server


@pytest.fixture
async def bare_redis(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a real server without modules."""
    with EmbeddedRedis(tmp_path / "bare", appendonly=False, modules=False) as server:
        client = connect(server.url)
        yield client
        await client.aclose()


@pytest.fixture(scope="module")
def failing_worker(system: System) -> Iterator[Process]:
    """A worker for the graphs of tests/graphs/failing.json, in addition to the system's."""
    with extra_worker.run_worker(system.fleet.redis_url, "failing") as worker:
        yield worker


@pytest.fixture
async def failing(system: System, failing_worker: Process) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the system with that worker. Fails if the test leaks a key."""
    async with httpx.AsyncClient(base_url=system.url, timeout=30) as client:
        yield client
    await extra_worker.check_leaks(system.fleet.redis_url)


@pytest.fixture
async def saver_redis(redis_server: EmbeddedRedis) -> AsyncIterator[Client]:
    """A client on an empty database of the real server, for tests of checkpointers.

    They store checkpoints of threads without a record, so keys may be left over.
    """
    client = connect(redis_server.url.rpartition("/")[0] + "/1")
    await client.flushdb()
    yield client
    await client.aclose()
