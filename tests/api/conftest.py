"""Fixtures of the API's tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.requests import STEPS, Serve, System
from graphs import extra_worker
from harness.processes import Fleet, Process


@pytest.fixture(scope="module", autouse=True)
def no_leaks(system: System) -> Iterator[None]:
    """Fails if the tests of a file leak a key."""
    yield
    asyncio.run(extra_worker.check_leaks(system.fleet.redis_url))


@pytest.fixture
async def http(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client. Unlike the fixture of all tests, it leaves the leak check to `no_leaks`."""
    async with httpx.AsyncClient(base_url=system.url, timeout=30) as client:
        yield client


@pytest.fixture
async def thread(http: httpx.AsyncClient) -> str:
    """A new thread without a run."""
    return str((await http.post("/threads", json={})).json()["thread_id"])


@pytest.fixture
async def stepped(http: httpx.AsyncClient, thread: str) -> str:
    """A thread on which `steps` has run: items [0, 1, 2]."""
    await http.post(f"/threads/{thread}/runs/wait", json=STEPS)
    return thread


@pytest.fixture(scope="module")
def fields_worker(system: System, no_leaks: None) -> Iterator[None]:
    """A worker for the graphs of tests/graphs/fields.json, in addition to the system's."""
    with extra_worker.run_worker(system.fleet.redis_url, "fields"):
        yield


@pytest.fixture
def web(http: httpx.AsyncClient, fields_worker: None) -> httpx.AsyncClient:
    """`http`, with a worker for the graphs of tests/graphs/fields.json."""
    return http


@pytest.fixture
async def no_crons_left(http: httpx.AsyncClient) -> AsyncIterator[None]:
    """Fails if a test leaves a cron that it cannot delete."""
    yield
    for cron in (await http.post("/runs/crons/search", json={"limit": 1000})).json():
        await http.delete(f"/runs/crons/{cron['cron_id']}")
    assert (await http.post("/runs/crons/count", json={})).json() == 0


@pytest.fixture
def start_api(system: System, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts APIs with the `http` of the test, on the system's Redis."""
    with Fleet(system.fleet.redis_url, KEEPALIVE_INTERVAL_SECS="0.2") as fleet:

        def begin(http: dict[str, Any], **more: Any) -> Process:
            config = tmp_path / "langgraph.json"
            graphs = {"steps": "./nowhere.py:graph"}  # the API reads no graphs
            config.write_text(json.dumps({"graphs": graphs, "http": http, **more}))
            return fleet.api(config, LOG_LEVEL="INFO")

        yield begin


@pytest.fixture
def serve(start_api: Callable[..., Process]) -> Serve:
    @asynccontextmanager
    async def served(http: dict[str, Any], **more: Any) -> AsyncIterator[httpx.AsyncClient]:
        api = start_api(http, **more).wait_ready()
        async with httpx.AsyncClient(base_url=api.url, timeout=30) as client:
            yield client

    return served
