"""What the tests of the API share."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from api.requests import STEPS, System
from graphs import extra_worker


@pytest.fixture(scope="module", autouse=True)
def no_leaks(system: System) -> Iterator[None]:
    """After the tests of a file no key may be left over that nothing would ever delete."""
    yield
    asyncio.run(extra_worker.check_leaks(system.fleet.redis_url))


@pytest.fixture
async def http(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client; unlike the one for all tests it leaves the leaks to `no_leaks`."""
    async with httpx.AsyncClient(base_url=system.url, timeout=30) as client:
        yield client


@pytest.fixture
async def thread(http: httpx.AsyncClient) -> str:
    """A new thread that no run has touched."""
    return str((await http.post("/threads", json={})).json()["thread_id"])


@pytest.fixture
async def stepped(http: httpx.AsyncClient, thread: str) -> str:
    """A thread on which `steps` has run: items [0, 1, 2]."""
    await http.post(f"/threads/{thread}/runs/wait", json=STEPS)
    return thread


@pytest.fixture(scope="module")
def fields_worker(system: System, no_leaks: None) -> Iterator[None]:
    """A worker for the graphs of tests/graphs/fields.py, beside the system's."""
    with extra_worker.run_worker(system.fleet.redis_url, "fields"):
        yield


@pytest.fixture
def web(http: httpx.AsyncClient, fields_worker: None) -> httpx.AsyncClient:
    """`http`, where the graphs of tests/graphs/fields.py are served too."""
    return http
