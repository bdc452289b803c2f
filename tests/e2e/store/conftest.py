"""A system with a store, and one whose Redis has no modules for a store."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from harness.leaks import wait_for_no_leaks
from harness.processes import Fleet
from harness.redis_modules import require_modules
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import Client, connect

GRAPHS = Path(__file__).parents[2] / "graphs"


def check_leaks(redis_url: str) -> None:
    async def check() -> None:
        redis = connect(redis_url)
        try:
            await wait_for_no_leaks(redis)
        finally:
            await redis.aclose()

    asyncio.run(check())


@pytest.fixture(scope="session")
def store_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URLs of an API and of its Redis; two workers share the store."""
    require_modules()
    with (
        EmbeddedRedis(tmp_path_factory.mktemp("store"), appendonly=False) as server,
        Fleet(server.url) as fleet,
    ):
        api = fleet.api()
        for worker in [fleet.worker(GRAPHS / "store.json") for _ in range(2)]:
            worker.wait_ready()
        api.wait_ready()
        yield api.url, server.url
        check_leaks(server.url)


@pytest.fixture(scope="session")
def storeless_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an API whose Redis has no modules."""
    folder = tmp_path_factory.mktemp("storeless")
    with (
        EmbeddedRedis(folder, appendonly=False, modules=False) as server,
        Fleet(server.url) as fleet,
    ):
        api, worker = fleet.api(), fleet.worker(GRAPHS / "storeless.json")
        worker.wait_ready()
        yield api.wait_ready().url


@pytest.fixture
async def http(store_system: tuple[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=store_system[0], timeout=30) as client:
        yield client


@pytest.fixture
async def redis(store_system: tuple[str, str]) -> AsyncIterator[Client]:
    client = connect(store_system[1])
    yield client
    await client.aclose()
