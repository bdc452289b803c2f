"""Workers with many runs at once, every kind of graph, and misbehaving graphs."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import BEHAVIOUR, Cluster, NodeLog, Thread
from e2e.raw_http import HEARTBEAT, RawResponse, call_api
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("worker_cluster")

FULL = 150  # N_JOBS_PER_WORKER of `worker_cluster`


@pytest.fixture
async def thread(worker_cluster: Cluster) -> Thread:
    worker_cluster.ready_workers(1)
    return await Thread.create(worker_cluster.url)


async def fill(cluster: Cluster, log: NodeLog) -> list[tuple[Thread, str]]:
    """Fills the slots of the only worker with runs, and returns them."""

    async def start() -> tuple[Thread, str]:
        thread = await Thread.create(cluster.url)
        return thread, await thread.start("linger", configurable={"log": str(log)})

    runs = []
    for _ in range(10):
        runs += await asyncio.gather(*(start() for _ in range(FULL // 10)))
    await log.noted("begin", FULL, within=30)
    return runs


async def cancel(runs: list[tuple[Thread, str]]) -> None:
    for thread, run_id in runs:
        await call_api(thread.url, "POST", f"{thread.runs_path}/{run_id}/cancel")
    for thread, run_id in runs:
        assert await thread.ended(run_id) == "interrupted"


async def test_a_full_worker_answers_calls_and_delays_no_run(
    worker_cluster: Cluster, log: NodeLog, record_property: Callable[[str, object], None]
) -> None:
    [full] = worker_cluster.ready_workers(1, limit=1)
    runs = await fill(worker_cluster, log)
    since = time.monotonic()
    thread, _ = runs[0]
    status, state = await call_api(worker_cluster.url, "GET", f"/threads/{thread.id}/state")
    answered = (time.monotonic() - since) * 1000
    assert (status, state["next"]) == (200, ["only"])

    _, idle = worker_cluster.ready_workers(2)
    times = []
    for _ in range(6):
        thread = await Thread.create(worker_cluster.url)
        begun = time.monotonic()
        async with await thread.stream("track", configurable={"log": str(log)}) as response:
            await response.until_events(1, "values")
            times.append((time.monotonic() - begun) * 1000)
            await response.rest()
    assert {note["pid"] for note in log.notes("end")} == {idle.pid}
    assert {note["pid"] for note in log.notes("begin", runs[-1][1])} == {full.pid}
    record_property("start_ms", [round(ms, 1) for ms in times])
    record_property("state_ms", round(answered, 1))
    print("beside 150 runs, ms: start", times, "state", answered)  # noqa: T201
    assert max(times) < 1000
    assert answered < 1000
    await cancel(runs)


async def test_a_blocked_event_loop_keeps_its_lease(
    worker_cluster: Cluster, thread: Thread, log: NodeLog
) -> None:
    [_] = worker_cluster.ready_workers(1, limit=1)
    other = await Thread.create(worker_cluster.url)
    async with await other.stream("linger", configurable={"seconds": 3.2}) as quiet:
        run_id = await thread.start("block", configurable={"log": str(log), "seconds": 3})
        await log.noted("begin")
        await quiet.until_events(1)
        beats = quiet.body.count(HEARTBEAT)
        begun = time.monotonic()
        while not log.notes("end"):
            await quiet.until_heartbeat()
        assert quiet.body.count(HEARTBEAT) - beats >= 0.7 * (time.monotonic() - begun) / 0.1
        assert (await quiet.events())[-1].data == {"status": "success"}
    assert await thread.ended(run_id) == "success"
    assert [(n["what"], n["attempt"]) for n in log.notes()] == [("begin", 1), ("end", 1)]
    starts = [event.data for event in await thread.replay(run_id) if event.name == "metadata"]
    assert starts == [{"run_id": run_id, "attempt": 1}]


async def test_runs_of_a_thread_are_executed_one_at_a_time_in_order(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    worker_cluster.ready_workers(3)
    thread = await Thread.create(worker_cluster.url)
    runs = [
        await thread.start("track", configurable={"log": str(log), "n": 1, "delay": 0.02})
        for _ in range(20)
    ]
    assert await thread.ended(runs[-1], within=30) == "success"
    seen = [(note["run"], note["what"]) for note in log.notes()]
    assert seen == [(run, what) for run in runs for what in ("begin", "end")]
    assert {(await thread.run(run))["status"] for run in runs} == {"success"}
    assert await thread.status() == "idle"


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        ("builder", "builder"),
        ("factory", "factory"),
        ("async_factory", "async_factory"),
        ("config_factory", "whom"),
        ("context_factory", "context_factory"),
    ],
)
async def test_every_kind_of_graph_is_executed(
    thread: Thread, log: NodeLog, graph: str, said: str
) -> None:
    body = {
        "assistant_id": graph,
        "input": {},
        "config": {"configurable": {"word": "whom", "log": str(log)}},
    }
    assert await call_api(thread.url, "POST", f"{thread.runs_path}/wait", body) == (
        200,
        {"items": [said]},
    )
    status, state = await call_api(thread.url, "GET", f"/threads/{thread.id}/state")
    assert (status, state["values"]) == (200, {"items": [said]})
    opened = 2 if graph == "context_factory" else 0  # for the run, and for the state
    assert [note["what"] for note in log.notes()] == ["opened", "closed"] * opened


@pytest.mark.parametrize("how", ["cancel", "leave"])
async def test_a_run_ends_though_its_graph_swallows_the_cancel(
    thread: Thread, log: NodeLog, how: str
) -> None:
    response = await thread.stream("swallow", configurable={"log": str(log), "seconds": 5})
    _, run_id = response.ids
    await log.noted("begin")
    begun = time.monotonic()
    if how == "cancel":
        answer = await call_api(thread.url, "POST", f"{thread.runs_path}/{run_id}/cancel?wait=1")
        assert answer == (200, {})
        assert (await response.events())[-1].data == {"status": "interrupted"}
    await response.close()
    assert await thread.ended(run_id) == "interrupted"
    assert time.monotonic() - begun < 4
    before = await thread.replay(run_id)
    assert await thread.status() == "interrupted"
    # Meanwhile the thread executes its next run, and the old graph changes nothing.
    next_run = await thread.start("track", configurable={"n": 1})
    assert await thread.ended(next_run) == "success"
    await log.noted("end")
    assert await thread.replay(run_id) == before
    assert await thread.ended(run_id) == "interrupted"


@pytest.fixture
def limited(worker_cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with a second queue, whose worker limits each run to half a second."""
    config = tmp_path / "langgraph.json"
    source = BEHAVIOUR.with_name("behaviour.py")
    config.write_text(f'{{"graphs": {{"limited": "{source}:linger"}}}}')
    worker = worker_cluster.fleet.worker(config, "limited", BG_JOB_TIMEOUT_SECS="0.5").wait_ready()
    yield worker_cluster
    if worker.process.poll() is None:
        worker.stop()


async def test_a_run_times_out_and_a_graph_without_a_worker_is_503(
    limited: Cluster, log: NodeLog
) -> None:
    thread = await Thread.create(limited.url)
    fields: dict[str, Any] = {"configurable": {"log": str(log)}, "stream_mode": "custom"}
    async with await thread.stream("limited", **fields) as response:
        metadata, error, end = await response.events()
        _, run_id = response.ids
    assert metadata.name == "metadata"
    assert (error.name, error.data["error"]) == ("error", "TimeoutError")
    assert (end.name, end.data) == ("end", {"status": "timeout"})
    assert (await thread.run(run_id))["status"] == "timeout"
    assert await thread.status() == "error"
    await log.noted("stopped", within=10)
    assert (await call_api(thread.url, "GET", f"{thread.runs_path}/{run_id}/join"))[1] == {
        "__error__": error.data
    }

    limited.fleet.processes[-1].stop()
    begun = time.monotonic()
    async with await RawResponse.open(
        limited.url, "GET", f"/threads/{thread.id}/state"
    ) as response:
        assert response.status == 503
        assert int(response.headers["retry-after"]) > 0
        assert b"limited" in await response.rest()
    assert time.monotonic() - begun < 5


async def test_a_deferred_run_is_executed_when_it_is_due(thread: Thread, log: NodeLog) -> None:
    begun = time.monotonic()
    run_id = await thread.start("track", configurable={"log": str(log), "n": 1}, after_seconds=1)
    assert (await thread.run(run_id))["status"] == "pending"
    assert await thread.ended(run_id) == "success"
    assert 0.9 < time.monotonic() - begun < 8
    await until(lambda: len(log.notes()) == 2)
