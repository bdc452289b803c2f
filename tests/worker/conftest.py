"""What the tests of the worker share."""

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import httpx
import pytest

from graphs import serving
from harness.processes import Fleet


class Running(Protocol):
    """The running system, as these tests use it."""

    fleet: Fleet

    @property
    def url(self) -> str: ...


@pytest.fixture(scope="module")
def fields_worker(system: Running) -> Iterator[None]:
    """A worker for the graphs of tests/graphs/fields.py, beside the system's."""
    with serving.fields_worker(system.fleet.redis_url):
        yield


@pytest.fixture
async def web(system: Running, fields_worker: None) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client of the system that serves those graphs; afterwards no key is left."""
    async with httpx.AsyncClient(base_url=system.url, timeout=30) as client:
        yield client
    await serving.check_leaks(system.fleet.redis_url)
