"""Systems with a Redis of their own, for tests that kill, stop or flood what they use."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import node
from e2e.raw_http import Event, RawResponse, call_api
from harness.leaks import leaked
from harness.processes import Fleet, Process
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.redis import Client, connect

BEHAVIOUR = Path(__file__).parents[1] / "graphs" / "behaviour.json"
ENDED = {"success", "error", "timeout", "interrupted"}


class Cluster:
    """A Redis, an API, and workers that come and go, serving the graphs of behaviour.py."""

    def __init__(
        self,
        redis: EmbeddedRedis,
        fleet: Fleet,
        expected_errors: tuple[str, ...] = (),
        **worker_env: str,
    ) -> None:
        self.redis = redis
        self.fleet = fleet
        self.expected_errors = (
            "ERROR   redisvl",
            *expected_errors,
        )  # what errors say that the tests provoke
        self.api = fleet.api()
        self._worker_env = worker_env
        self._workers: list[Process] = []

    @property
    def url(self) -> str:
        return self.api.url

    def ready_workers(self, least: int, *, most: int = 99) -> list[Process]:
        """Returns the live workers: as many as are wanted, each ready."""
        self._workers = [worker for worker in self._workers if worker.process.poll() is None]
        for worker in self._workers[most:]:
            worker.stop()
        missing = range(least - len(self._workers))
        self._workers = self._workers[:most] + [self._worker() for _ in missing]
        return [worker.wait_ready() for worker in self._workers]

    def _worker(self) -> Process:
        return self.fleet.worker(BEHAVIOUR, **self._worker_env)

    def start_worker(self, **env: str) -> Process:
        """Starts a worker of the crew with settings of its own: who hires it ends it."""
        self._workers.append(self.fleet.worker(BEHAVIOUR, **{**self._worker_env, **env}))
        return self._workers[-1]

    def worker(self, pid: int) -> Process:
        """Returns the worker of the crew with that process id."""
        return next(worker for worker in self._workers if worker.pid == pid)

    async def check(self) -> None:
        """Fails if something was left behind that nothing would delete, or if a process erred."""
        client = connect(self.redis.url)
        try:

            async def clean() -> bool:
                return not await leaked(client, ("default", "limited"))

            await until(clean, within=15, what=f"no leaked keys, but {await leaked(client)}")
        finally:
            await client.aclose()
        for process in self.fleet.processes:
            errors = [line for line in process.lines if line.startswith("ERROR   ")]
            errors = [
                line for line in errors if not any(said in line for said in self.expected_errors)
            ]
            assert not errors, "\n".join(process.lines)


def _start_cluster(
    folder: Path, api_env: dict[str, str], expected_errors: tuple[str, ...] = (), **worker_env: str
) -> Iterator[Cluster]:
    with (
        # A killed process loses nothing that it wrote, and what waits for a slow disk is not written.
        EmbeddedRedis(folder, appendonly=True, appendfsync="no") as redis,
        Fleet(redis.url, KEEPALIVE_INTERVAL_SECS="0.1", **api_env) as fleet,
    ):
        cluster = Cluster(redis, fleet, expected_errors, **worker_env)
        cluster.ready_workers(1)
        cluster.api.wait_ready()
        yield cluster
        cluster.ready_workers(
            1
        )  # the last test may have left none, and what is garbage is swept by a worker
        asyncio.run(cluster.check())


@pytest.fixture(scope="session")
def stream_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For tests of streams: keepalives every 0.1 s, and of a long stream only the newest events."""
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
    """For tests in which Redis refuses, stalls or holds junk: short leases, and of that errors logged."""
    expected_errors = (
        "Redis takes no writes",
        "which is no job of ours",
        # Redis breaks off what blocks when it becomes a replica; and a question may be no question.
        "the worker stumbled",
        "the lanes of calls stumbled",
    )
    env = {"LEASE_SECS": "1", "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0"}
    yield from _start_cluster(tmp_path_factory.mktemp("rough"), {}, expected_errors, **env)


@pytest.fixture(scope="session")
def node_modules() -> None:
    """What the scripts of tests/js need; skips where there is no Node."""
    node.require()


class Thread:
    """A thread, and requests for its runs."""

    def __init__(self, url: str, thread_id: str) -> None:
        self.url = url
        self.id = thread_id
        self.place = f"/threads/{thread_id}/runs"

    @classmethod
    async def create(cls, url: str) -> "Thread":
        _, made = await call_api(url, "POST", "/threads", {"thread_id": str(uuid.uuid4())})
        return cls(url, made["thread_id"])

    async def start(self, graph: str, **given: Any) -> str:
        """Starts a run in the background; returns its id."""
        status, run = await call_api(self.url, "POST", self.place, request(graph, **given))
        assert status == 200, run
        return str(run["run_id"])

    async def stream(self, graph: str, **given: Any) -> RawResponse:
        """Starts a run and follows it."""
        return await RawResponse.open(
            self.url, "POST", f"{self.place}/stream", request(graph, **given)
        )

    async def join(self, run_id: str, last: str | None = None, query: str = "") -> RawResponse:
        """Follows a run."""
        headers = {} if last is None else {"last-event-id": last}
        return await RawResponse.open(
            self.url, "GET", f"{self.place}/{run_id}/stream{query}", headers=headers
        )

    async def replay(self, run_id: str) -> list[Event]:
        """Returns all events of a run, once it has ended."""
        async with await self.join(run_id, "-1") as response:
            return await response.events()

    async def run(self, run_id: str) -> Any:
        """Returns a run's record as the API shows it."""
        return (await call_api(self.url, "GET", f"{self.place}/{run_id}"))[1]

    async def ended(self, run_id: str, within: float = 10.0) -> str:
        """Waits until the run has ended; returns its status."""

        async def status() -> str | None:
            now = (await self.run(run_id))["status"]
            return now if now in ENDED else None

        return str(await until(status, within=within, what=f"the end of run {run_id}"))

    async def status(self) -> str:
        """Returns the thread's own status."""
        return str((await call_api(self.url, "GET", f"/threads/{self.id}"))[1]["status"])


def request(graph: str, *, input: Any = None, **given: Any) -> dict[str, Any]:
    """Returns the body of a request: `configurable` has a place of its own, the rest is as it is."""
    configurable = given.pop("configurable", {})
    return {
        "assistant_id": graph,
        "input": {} if input is None else input,
        "config": {"configurable": configurable, "recursion_limit": 200},
        **given,
    }


class NodeLog:
    """What the graphs of a test noted in their file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def notes(self, what: str = "", run: str | None = None) -> list[Any]:
        """Returns the notes so far, of one kind and run."""
        if not self.path.exists():
            return []
        notes = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [n for n in notes if what in ("", n["what"]) and run in (None, n["run"])]

    async def noted(self, what: str, count: int = 1, within: float = 10.0) -> list[Any]:
        """Waits for a note; returns all of that kind."""
        return list(
            await until(
                lambda: len(found := self.notes(what)) >= count and found,
                within=within,
                what=f"{count} times {what} in {self.notes()}",
            )
        )

    def open_gate(self) -> None:
        """Lets the graph `gate` go on."""
        Path(f"{self.path}.go").touch()


@pytest.fixture
def log(tmp_path: Path) -> NodeLog:
    """The file that a test's graphs note in."""
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
    """Returns all that Redis holds of a run that has ended, apart from checkpoints."""
    return {
        "run": await redis.hgetall(keys.run(thread_id, run_id)),  # type: ignore[misc]
        "thread": await redis.hgetall(keys.thread(thread_id)),  # type: ignore[misc]
        "events": await redis.xrange(keys.events(thread_id, run_id)),
    }
