"""Systems with their own Redis, for tests that kill, stop or flood processes."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from conftest import System
from e2e import node
from e2e.raw_http import Event, RawResponse, call_api
from harness.leaks import wait_for_no_leaks
from harness.processes import Fleet, Process
from harness.scraping import free_port
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.redis import Client, connect

BEHAVIOUR = Path(__file__).parents[1] / "graphs" / "behaviour.json"
QUEUES = ("gpu", "a", "b")  # of test_queues.py
ENDED = {"success", "error", "timeout", "interrupted"}


class Cluster:
    """A Redis, an API, and a changing number of workers that serve the graphs of behaviour.py."""

    def __init__(
        self,
        redis: EmbeddedRedis,
        fleet: Fleet,
        expected_errors: tuple[str, ...] = (),
        **worker_env: str,
    ) -> None:
        self.redis = redis
        self.fleet = fleet
        # Parts of the log lines of errors that the tests provoke.
        self.expected_errors = ("redisvl", *expected_errors)
        self.api = fleet.api()
        self._worker_env = worker_env
        self._workers: list[Process] = []

    @property
    def url(self) -> str:
        return self.api.url

    def ready_workers(self, at_least: int, *, limit: int = 99) -> list[Process]:
        """Starts and stops workers until between `at_least` and `limit` are live and ready. Returns them."""
        self._workers = [worker for worker in self._workers if worker.process.poll() is None]
        for worker in self._workers[limit:]:
            worker.stop()
        missing = range(at_least - len(self._workers))
        self._workers = self._workers[:limit] + [self._worker() for _ in missing]
        return [worker.wait_ready() for worker in self._workers]

    def _worker(self, **env: str) -> Process:
        env = {**self._worker_env, "METRICS_PORT": str(free_port()), **env}
        return self.fleet.worker(BEHAVIOUR, **env)

    def start_worker(self, **env: str) -> Process:
        """Starts a worker with other settings. The caller ends it."""
        self._workers.append(self._worker(**env))
        return self._workers[-1]

    def worker(self, pid: int) -> Process:
        """Returns the worker with that process id."""
        return next(worker for worker in self._workers if worker.pid == pid)

    async def check(self) -> None:
        """Fails if a key was leaked, or if a process logged an unexpected error."""
        client = connect(self.redis.url)
        try:
            queues = ("default", "limited", "explained", *QUEUES)
            await wait_for_no_leaks(client, queues, within=15)
        finally:
            await client.aclose()
        for process in self.fleet.processes:
            errors = [
                error
                for error in process.errors
                if not any(said in str(error) for said in self.expected_errors)
            ]
            assert not errors, "\n".join(process.lines)


def _start_cluster(
    folder: Path, api_env: dict[str, str], expected_errors: tuple[str, ...] = (), **worker_env: str
) -> Iterator[Cluster]:
    with (
        # Redis need not sync to the disk: the data that a killed process wrote is safe.
        EmbeddedRedis(folder, appendonly=True, appendfsync="no") as redis,
        Fleet(redis.url, KEEPALIVE_INTERVAL_SECS="0.1", **api_env) as fleet,
    ):
        cluster = Cluster(redis, fleet, expected_errors, **worker_env)
        cluster.ready_workers(1)
        cluster.api.wait_ready()
        yield cluster
        cluster.ready_workers(1)  # the last test may have ended all, and a worker sweeps garbage
        asyncio.run(cluster.check())


@pytest.fixture(scope="session")
def stream_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For tests of streams: keepalives every 0.1 s, and at most about 100 events a stream."""
    yield from _start_cluster(
        tmp_path_factory.mktemp("streams"), {}, STREAM_MAX_EVENTS="100", N_JOBS_PER_WORKER="50"
    )


@pytest.fixture(scope="session")
def worker_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For tests of workers: short leases, two attempts, room for 150 runs on each."""
    env = {
        "LEASE_SECS": "1",
        "RUN_MAX_ATTEMPTS": "2",
        "N_JOBS_PER_WORKER": "150",
        "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0",
    }
    yield from _start_cluster(
        tmp_path_factory.mktemp("works"), env, ("The graph cancelled itself",)
    )


@pytest.fixture(scope="session")
def fault_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For tests in which Redis rejects writes, stalls or holds invalid data: short leases, and expected errors."""
    expected_errors = (
        "Redis takes no writes",
        "it is not the id of a job",
        # Redis ends blocking commands when it becomes a replica, and a call may be invalid.
        "The dispatch of runs failed",
        "The queues of calls failed",
    )
    env = {"LEASE_SECS": "1", "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0"}
    yield from _start_cluster(tmp_path_factory.mktemp("rough"), {}, expected_errors, **env)


@pytest.fixture
async def client(system: System, http: httpx.AsyncClient) -> AsyncIterator[LangGraphClient]:
    """An SDK client of the running system. Fails if the test leaks a key."""
    async with get_client(url=system.url) as client:
        yield client


@pytest.fixture(scope="session")
def node_modules() -> None:
    """Installs the modules for the scripts of tests/js. Skips the test without Node."""
    node.require()


class Thread:
    """A thread with requests for its runs."""

    def __init__(self, url: str, thread_id: str) -> None:
        self.url = url
        self.id = thread_id
        self.runs_path = f"/threads/{thread_id}/runs"

    @classmethod
    async def create(cls, url: str) -> "Thread":
        _, created = await call_api(url, "POST", "/threads", {"thread_id": str(uuid.uuid4())})
        return cls(url, created["thread_id"])

    async def start(self, graph: str, **fields: Any) -> str:
        """Starts a run in the background; returns its id."""
        status, run = await call_api(self.url, "POST", self.runs_path, request(graph, **fields))
        assert status == 200, run
        return str(run["run_id"])

    async def stream(self, graph: str, **fields: Any) -> RawResponse:
        """Starts a run and follows it."""
        return await RawResponse.open(
            self.url, "POST", f"{self.runs_path}/stream", request(graph, **fields)
        )

    async def join(self, run_id: str, last: str | None = None, query: str = "") -> RawResponse:
        """Follows a run."""
        headers = {} if last is None else {"last-event-id": last}
        return await RawResponse.open(
            self.url, "GET", f"{self.runs_path}/{run_id}/stream{query}", headers=headers
        )

    async def replay(self, run_id: str) -> list[Event]:
        """Returns all events of a run, once it has ended."""
        async with await self.join(run_id, "-1") as response:
            return await response.events()

    async def run(self, run_id: str) -> Any:
        """Returns a run from the API."""
        return (await call_api(self.url, "GET", f"{self.runs_path}/{run_id}"))[1]

    async def ended(self, run_id: str, within: float = 10.0) -> str:
        """Waits until the run has ended; returns its status."""

        async def status() -> str | None:
            now = (await self.run(run_id))["status"]
            return now if now in ENDED else None

        return str(await until(status, within=within, what=f"the end of run {run_id}"))

    async def status(self) -> str:
        """Returns the thread's own status."""
        return str((await call_api(self.url, "GET", f"/threads/{self.id}"))[1]["status"])


def request(graph: str, *, input: Any = None, **fields: Any) -> dict[str, Any]:
    """Returns the body of a request; `configurable` goes to its config, and other fields are unchanged."""
    configurable = fields.pop("configurable", {})
    return {
        "assistant_id": graph,
        "input": {} if input is None else input,
        "config": {"configurable": configurable, "recursion_limit": 200},
        **fields,
    }


class NodeLog:
    """The file in which the nodes of a test note what they do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def notes(self, what: str = "", run: str | None = None) -> list[Any]:
        """Returns the notes so far, of one kind and one run."""
        if not self.path.exists():
            return []
        notes = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [n for n in notes if what in ("", n["what"]) and run in (None, n["run"])]

    async def noted(self, what: str, count: int = 1, within: float = 10.0) -> list[Any]:
        """Waits for `count` notes of a kind; returns all of that kind."""
        return list(
            await until(
                lambda: len(notes := self.notes(what)) >= count and notes,
                within=within,
                what=f"{count} times {what} in {self.notes()}",
            )
        )

    def open_gate(self) -> None:
        """Lets the graph `gate` continue."""
        Path(f"{self.path}.go").touch()


@pytest.fixture
def log(tmp_path: Path) -> NodeLog:
    """The file in which the nodes of a test note what they do."""
    return NodeLog(tmp_path / "log")


@pytest.fixture
async def stream_redis(stream_cluster: Cluster) -> AsyncIterator[Client]:
    """A client on the Redis of `stream_cluster`."""
    client = connect(stream_cluster.redis.url)
    yield client
    await client.aclose()


@pytest.fixture
async def fault_redis(fault_cluster: Cluster) -> AsyncIterator[Client]:
    """A client on the Redis of `fault_cluster`."""
    client = connect(fault_cluster.redis.url)
    yield client
    await client.aclose()


@pytest.fixture
async def worker_redis(worker_cluster: Cluster) -> AsyncIterator[Client]:
    """A client on the Redis of `worker_cluster`."""
    client = connect(worker_cluster.redis.url)
    yield client
    await client.aclose()


async def dump(redis: Client, thread_id: str, run_id: str) -> dict[str, Any]:
    """Returns the keys of an ended run and its thread, except for checkpoints."""
    return {
        "run": await redis.hgetall(keys.run(thread_id, run_id)),  # type: ignore[misc]
        "thread": await redis.hgetall(keys.thread(thread_id)),  # type: ignore[misc]
        "events": await redis.xrange(keys.events(thread_id, run_id)),
    }
