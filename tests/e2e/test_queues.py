"""Named queues with real processes: which fleet executes a run, turns of a worker, pauses, and the death of a fleet."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.schema import Config

from e2e.conftest import BEHAVIOUR, QUEUES, Cluster, NodeLog, Thread, request
from e2e.raw_http import call_api
from harness.processes import Process
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client

pytestmark = pytest.mark.xdist_group("worker_cluster")

Start = Callable[..., Process]
GPU, A, B = QUEUES


@pytest.fixture
def start(worker_cluster: Cluster, tmp_path: Path) -> Iterator[Start]:
    """Starts workers of a queue that serve graphs of behaviour.py, which langgraph.json may route to a queue. Without
    a queue, it is a worker of `millstream dev`."""
    worker_cluster.ready_workers(0, limit=0)
    started: list[Process] = []

    def worker(queue: str | None, graphs: dict[str, tuple[str, str | None]], **env: str) -> Process:
        config = tmp_path / f"{len(started)}.json"
        source = BEHAVIOUR.with_name("behaviour.py")
        entries = {
            name: {"path": f"{source}:{graph}", **({"queue": route} if route else {})}
            for name, (graph, route) in graphs.items()
        }
        config.write_text(json.dumps({"graphs": entries}))
        env = {"LEASE_SECS": "1", "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0", **env}
        fleet = worker_cluster.fleet
        started.append(
            fleet.dev_worker(config, **env) if queue is None else fleet.worker(config, queue, **env)
        )
        return started[-1]

    yield worker
    for process in started:
        if process.process.poll() is None:
            process.stop()


@pytest.fixture(autouse=True)
async def _no_pauses(worker_redis: Client) -> AsyncIterator[None]:
    yield
    await worker_redis.delete(*map(keys.paused, QUEUES))


async def queue_state(url: str, name: str) -> dict[str, Any]:
    status, queues = await call_api(url, "GET", "/ops/queues")
    assert status == 200
    return next(queue for queue in queues if queue["name"] == name)


async def runs_of(url: str, graph: str, count: int, **knobs: Any) -> list[tuple[Thread, str]]:
    threads = await asyncio.gather(*(Thread.create(url) for _ in range(count)))
    ids = await asyncio.gather(*(each.start(graph, configurable=knobs) for each in threads))
    return list(zip(threads, ids, strict=True))


def pids_of(log: NodeLog, runs: list[tuple[Thread, str]]) -> set[int]:
    ids = {run_id for _, run_id in runs}
    return {note["pid"] for note in log.notes("begin") if note["run"] in ids}


async def test_two_fleets_of_one_project_execute_their_own_graphs(
    worker_cluster: Cluster, start: Start, log: NodeLog
) -> None:
    graphs = {"vision": ("track", GPU), "cheap": ("track", None)}
    workers = [start(queue, graphs) for queue in (GPU, "default")]
    gpu, default = (worker.wait_ready().pid for worker in workers)
    vision = await runs_of(worker_cluster.url, "vision", 10, log=str(log))
    cheap = await runs_of(worker_cluster.url, "cheap", 10, log=str(log))
    for thread, run_id in vision + cheap:
        assert await thread.ended(run_id) == "success"
    assert pids_of(log, vision) == {gpu}
    assert pids_of(log, cheap) == {default}
    assert "vision" in (await queue_state(worker_cluster.url, GPU))["graphs"]

    # An assistant's queue goes before its graph's. The SDK sees nothing of queues.
    async with get_client(url=worker_cluster.url) as client:
        assistant = await client.assistants.create(
            "vision", metadata={"millstream_queue": "default"}
        )
        name = assistant["assistant_id"]
        config = Config(configurable={"log": str(log)})
        thread_id = (await client.threads.create())["thread_id"]
        run = await client.runs.create(thread_id, name, input={}, config=config)
        assert await client.runs.join(thread_id, run["run_id"]) == {"items": [0, 1, 2]}
        await client.assistants.delete(name)
    assert {note["pid"] for note in log.notes("begin", run["run_id"])} == {default}


async def test_the_worker_of_millstream_dev_serves_all_queues_of_the_project(
    worker_cluster: Cluster, start: Start
) -> None:
    graphs = {"vision": ("track", GPU), "slow": ("track", A), "cheap": ("track", None)}
    worker = start(None, graphs).wait_ready()
    assert worker.ready["queues"] == ["default", GPU, A]
    assert (await call_api(worker_cluster.url, "POST", "/runs/wait", request("vision")))[0] == 200


async def test_no_fleet_takes_a_graph_of_another_while_both_restart(
    worker_cluster: Cluster, start: Start, log: NodeLog
) -> None:
    graphs = {"shared": ("track", None)}
    first = start(A, graphs).wait_ready()
    second = start(B, graphs).wait_ready()
    owners = {first.pid}
    runs = await runs_of(worker_cluster.url, "shared", 40, log=str(log), delay=0.02)
    assert second.stop() == 0
    assert first.stop() == 0  # hands its runs back
    second = start(B, graphs).wait_ready()  # is alone now
    runs += await runs_of(worker_cluster.url, "shared", 30, log=str(log), delay=0.02)
    first = start(A, graphs).wait_ready()
    owners.add(first.pid)
    runs += await runs_of(worker_cluster.url, "shared", 30, log=str(log))
    for thread, run_id in runs:
        assert await thread.ended(run_id, within=30) == "success"
    assert pids_of(log, runs) <= owners
    assert second.pid not in {note["pid"] for note in log.notes()}


async def test_a_queue_under_load_delays_no_run_of_another(
    worker_cluster: Cluster, start: Start, log: NodeLog
) -> None:
    graphs = {"loaded": ("track", A), "rare": ("track", B)}
    start(f"{A},{B}", graphs, N_JOBS_PER_WORKER="2").wait_ready()
    load = await runs_of(worker_cluster.url, "loaded", 60, log=str(log), delay=0.05, n=2)
    await log.noted("begin")
    rare = await runs_of(worker_cluster.url, "rare", 1, log=str(log), n=1)
    [(thread, run_id)] = rare
    assert await thread.ended(run_id) == "success"
    begun = {note["run"] for note in log.notes("begin")}
    assert len([run for _, run in load if run in begun]) < len(load) / 2
    for thread, run_id in load:
        assert await thread.ended(run_id, within=30) == "success"


async def test_a_paused_queue_starts_no_run_and_its_runs_continue_after_the_resume(
    worker_cluster: Cluster, worker_redis: Client, start: Start, log: NodeLog
) -> None:
    url, graphs = worker_cluster.url, {"held": ("gate", GPU), "plain": ("track", GPU)}
    worker = start(GPU, graphs).wait_ready()
    [(thread, held)] = await runs_of(url, "held", 1, log=str(log))

    async def is_running() -> bool:
        return bool((await thread.run(held))["status"] == "running")

    await until(is_running)
    assert (await call_api(url, "POST", f"/ops/queues/{GPU}/pause", {"by": "ann"}))[0] == 200
    waiting = await runs_of(url, "plain", 20, log=str(log))

    async def tried() -> bool:
        return not await worker_redis.llen(keys.wake(GPU))  # type: ignore[misc]

    await until(tried, what="the worker has popped all wake-ups")
    state = await queue_state(url, GPU)
    assert (state["paused"]["by"], state["workers"]) == ("ann", 1)
    # A cancel ends a run that waits.
    (cancelled_thread, cancelled), *waiting = waiting
    path = f"{cancelled_thread.runs_path}/{cancelled}/cancel?wait=1"
    assert (await call_api(url, "POST", path))[0] == 200
    assert await cancelled_thread.ended(cancelled) == "interrupted"

    # The only worker dies. Its lease lapses, and no worker takes the run over.
    worker.kill()
    worker = start(GPU, graphs).wait_ready()

    async def lapsed() -> bool:
        score = await worker_redis.zscore(keys.queue(GPU), keys.job_id(thread.id, held))
        return score is not None and score / 1000 < await redis_time(worker_redis) - 1.5

    await until(lapsed, what="the worker has looked for due runs since the lease lapsed")
    assert not log.notes()
    assert await is_running()
    scaling = (await call_api(url, "GET", f"/ops/scaling?queue={GPU}"))[1]
    assert (scaling["paused"], scaling["in_flight"]) == (True, 0)

    log.open_gate()
    assert (await call_api(url, "POST", f"/ops/queues/{GPU}/resume"))[0] == 200
    for each, run_id in [*waiting, (thread, held)]:
        assert await each.ended(run_id, within=30) == "success"
    assert {note["pid"] for note in log.notes()} == {worker.pid}
    assert not log.notes(run=cancelled)


async def test_runs_of_a_dead_fleet_wait_and_others_continue(
    worker_cluster: Cluster, start: Start, log: NodeLog
) -> None:
    graphs = {"vision": ("track", GPU), "cheap": ("track", None)}
    gpu = start(GPU, graphs)
    start("default", graphs).wait_ready()
    gpu.wait_ready()
    url, knobs = worker_cluster.url, {"log": str(log), "delay": 0.2}
    runs = await runs_of(url, "vision", 1, **knobs)
    await log.noted("begin")
    gpu.kill()
    later = await runs_of(url, "vision", 5, log=str(log))
    assert (await call_api(url, "POST", "/runs/wait", request("cheap")))[0] == 200

    async def has_no_worker() -> bool:
        state = await queue_state(url, GPU)
        return not state["workers"] and state["lost_workers"] and state["due"] == 5

    await until(has_no_worker, within=15)
    assert {note["pid"] for note in log.notes()} == {gpu.pid}
    start(GPU, graphs).wait_ready()
    for thread, run_id in runs + later:
        assert await thread.ended(run_id, within=30) == "success"
