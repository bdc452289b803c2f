"""Workers drain on SIGTERM: runs end within the grace or continue on another worker, and none is lost."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.conftest import BEHAVIOUR, Cluster, NodeLog, Thread
from e2e.test_workers_crash import rise, starts, steps, tracked
from harness.processes import Process
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("worker_cluster")

StartWorker = Callable[..., Process]


@pytest.fixture
def start_worker(worker_cluster: Cluster) -> Iterator[StartWorker]:
    """Starts workers on a private queue. They end after the test."""
    workers: list[Process] = []

    def start(config: Path, queue: str, **env: str) -> Process:
        env = {"N_JOBS_PER_WORKER": "150", "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "60", **env}
        workers.append(worker_cluster.fleet.worker(config, queue, **env))
        return workers[-1].wait_ready()

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A langgraph.json whose graph `limited` is `track` (the leak check knows the queue of that name)."""
    path = tmp_path / "langgraph.json"
    path.write_text(f'{{"graphs": {{"limited": "{BEHAVIOUR.with_name("behaviour.py")}:track"}}}}')
    return path


async def test_a_draining_worker_finishes_its_runs_and_claims_no_more(
    worker_cluster: Cluster, start_worker: StartWorker, config: Path, log: NodeLog
) -> None:
    worker = start_worker(config, "limited")
    thread, after = await Thread.create(worker_cluster.url), await Thread.create(worker_cluster.url)
    async with await thread.stream("limited", **tracked(log, 0.3)) as response:
        await response.until_events(2, "custom")
        worker.send(signal.SIGTERM)
        await until(lambda: any("the worker claims no more" in line for line in worker.lines))
        later = await after.start("limited", configurable={"log": str(log), "n": 1})
        events = await response.events()
    assert starts(events) == [1]
    assert events[-1].data == {"status": "success"}
    assert steps(log, "begin") == list(range(6))
    assert await asyncio.to_thread(worker.wait) == 0
    assert (await after.run(later))["status"] == "pending"
    start_worker(config, "limited")
    assert await after.ended(later) == "success"


async def test_runs_that_outlast_the_grace_are_handed_back(
    worker_cluster: Cluster, start_worker: StartWorker, config: Path, log: NodeLog
) -> None:
    worker = start_worker(config, "limited", BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="0.6")
    start_worker(config, "limited")
    thread = await Thread.create(worker_cluster.url)
    async with await thread.stream("limited", **tracked(log, 0.5)) as response:
        await response.until_events(1, "custom")
        first = next(w for w in worker_cluster.fleet.processes if w.pid == log.notes()[-1]["pid"])
        first.send(signal.SIGTERM)
        events = await response.events()
    assert first in (worker, worker_cluster.fleet.processes[-1])
    assert await asyncio.to_thread(first.wait) == 0
    assert starts(events) == [1, 1]  # no attempt is used up
    assert rise(events)
    assert events[-1].data == {"status": "success"}
    assert events[-2].data == {"items": list(range(6))}
    assert steps(log, "end") == list(range(6))


async def test_a_second_sigterm_hands_runs_back_at_once(
    worker_cluster: Cluster, start_worker: StartWorker, config: Path, log: NodeLog
) -> None:
    start_worker(config, "limited")
    start_worker(config, "limited")
    thread = await Thread.create(worker_cluster.url)
    async with await thread.stream("limited", **tracked(log, 0.5)) as response:
        await response.until_events(1, "custom")
        first = next(w for w in worker_cluster.fleet.processes if w.pid == log.notes()[-1]["pid"])
        first.send(signal.SIGTERM)
        await until(lambda: any("the worker claims no more" in line for line in first.lines))
        await response.until_events(2, "custom")
        first.send(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait) == 0
        events = await response.events()
    assert starts(events) == [1, 1]
    assert events[-1].data == {"status": "success"}
    assert events[-2].data == {"items": list(range(6))}


async def test_a_handed_back_run_does_not_get_its_input_again(
    worker_cluster: Cluster, start_worker: StartWorker, config: Path, log: NodeLog
) -> None:
    """The run continues from its checkpoint, although it is the same attempt."""
    start_worker(config, "limited", BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="0")
    start_worker(config, "limited", BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="0")
    thread = await Thread.create(worker_cluster.url)
    fields = tracked(log, 0.4)
    async with await thread.stream("limited", input={"items": [100]}, **fields) as response:
        await response.until_events(2, "custom")
        first = next(w for w in worker_cluster.fleet.processes if w.pid == log.notes()[-1]["pid"])
        first.send(signal.SIGTERM)
        events = await response.events()
    assert events[-1].data == {"status": "success"}
    assert events[-2].data["items"].count(100) == 1
