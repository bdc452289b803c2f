"""Runs whose code raises unusual exceptions or ends its process do not affect other runs."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from e2e.conftest import Cluster, NodeLog, Thread
from e2e.raw_http import Event, call_api
from e2e.test_workers_crash import LEASE, starts
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("worker_cluster")

# The exception → the error types that clients may get (Python turns what may not leave a coroutine into a
# RuntimeError, LangGraph a CancelledError into a NodeCancelledError), and a part of the message.
RAISED = {
    "SystemExit": ({"SystemExit"}, "sys.exit(3)"),
    "KeyboardInterrupt": ({"KeyboardInterrupt"}, "no key was pressed"),
    "GeneratorExit": ({"GeneratorExit"}, "closed"),
    "PanicError": ({"PanicError"}, "thread 'main' panicked"),
    "BaseExceptionGroup": ({"SystemExit"}, "sys.exit(4)"),  # its first cause
    "MemoryError": ({"MemoryError"}, "none left"),
    "RecursionError": ({"RecursionError"}, "maximum recursion depth"),
    "StopIteration": ({"RuntimeError", "StopIteration"}, ""),
    "StopAsyncIteration": ({"RuntimeError"}, "StopAsyncIteration"),
    "CancelledError": ({"CancelledError", "NodeCancelledError"}, ""),
    "Unspeakable": ({"Unspeakable"}, "Unspeakable"),
}
DEATHS = {"exit": "exit status 7", "segfault": "SIGSEGV", "killed": "memory runs out"}


async def events_of_run(
    worker_cluster: Cluster, log: NodeLog, graph: str = "leave", **configurable: Any
) -> list[Event]:
    """Returns the events of a run that has ended."""
    thread = await Thread.create(worker_cluster.url)
    values = {"log": str(log), **configurable}
    async with await thread.stream(graph, configurable=values, stream_mode="updates") as response:
        return await response.events()


@pytest.mark.parametrize("node", ["sync", "async", "edge"])
async def test_an_exception_in_a_node_ends_its_run_only(
    worker_cluster: Cluster, log: NodeLog, node: str
) -> None:
    [worker] = worker_cluster.ready_workers(1, limit=1)
    bystander = await Thread.create(worker_cluster.url)
    beside = await bystander.start("linger", configurable={"log": str(log), "seconds": 2})
    await log.noted("begin")
    runs = await asyncio.gather(
        *(events_of_run(worker_cluster, log, how=how, node=node) for how in RAISED)
    )
    for (types, part), events in zip(RAISED.values(), runs, strict=True):
        assert [event.name for event in events] == ["metadata", "error", "end"], events
        assert events[1].data["error"] in types, events
        assert part in events[1].data["message"], events
        assert events[2].data == {"status": "error"}
    assert await bystander.ended(beside) == "success"
    assert starts(await bystander.replay(beside)) == [1]
    assert worker.process.poll() is None


async def test_a_node_that_stops_the_event_loop_affects_no_other_run(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    [worker] = worker_cluster.ready_workers(1, limit=1)
    events = await events_of_run(worker_cluster, log, how="stop the loop")
    assert [event.name for event in events] == ["metadata", "updates", "end"]
    assert (await events_of_run(worker_cluster, log))[-1].data == {"status": "success"}
    assert worker.process.poll() is None


@pytest.mark.parametrize("how", ["SystemExit", "KeyboardInterrupt", "PanicError", "GeneratorExit"])
async def test_an_exception_in_a_factory_ends_its_run_or_request_only(
    worker_cluster: Cluster, log: NodeLog, how: str
) -> None:
    [worker] = worker_cluster.ready_workers(1, limit=1)
    events = await events_of_run(worker_cluster, log, "leave_early", how=how)
    assert (events[-2].name, events[-2].data["error"]) == ("error", how)
    _, assistant = await call_api(
        worker_cluster.url, "POST", "/assistants",
        {"graph_id": "leave_early", "config": {"configurable": {"how": how}}},
    )  # fmt: skip
    path = f"/assistants/{assistant['assistant_id']}"
    status, answer = await call_api(worker_cluster.url, "GET", f"{path}/schemas")
    assert 400 <= status < 500, answer
    assert how in answer["detail"]
    await call_api(worker_cluster.url, "DELETE", path)
    assert worker.process.poll() is None
    assert (await events_of_run(worker_cluster, log))[-1].data == {"status": "success"}


@pytest.mark.parametrize("how", DEATHS)
async def test_an_uncatchable_crash_counts_against_its_own_run(
    worker_cluster: Cluster, log: NodeLog, how: str, record_property: Callable[[str, object], None]
) -> None:
    """The worker dies once. After that, only the process of the poison run dies."""
    worker_cluster.ready_workers(2)
    innocent = [await Thread.create(worker_cluster.url) for _ in range(3)]
    beside = [
        await thread.start("linger", configurable={"log": str(log), "seconds": 1})
        for thread in innocent
    ]
    await log.noted("begin", len(beside))
    began = time.monotonic()
    poisoned = asyncio.create_task(events_of_run(worker_cluster, log, how=how))
    while not poisoned.done():
        await asyncio.wait({poisoned}, timeout=0.1)
        worker_cluster.ready_workers(2)  # as an orchestrator restarts workers
    events = poisoned.result()
    took = time.monotonic() - began
    record_property("given_up_s", round(took, 1))
    print(how, "given up after s:", round(took, 1))  # noqa: T201
    assert starts(events) == [1, 2]
    assert events[-2].data["error"] == "AttemptsExhausted"
    assert DEATHS[how] in events[-2].data["message"]
    assert events[-1].data == {"status": "error"}
    for thread, run in zip(innocent, beside, strict=True):
        assert await thread.ended(run, within=30) == "success"
        assert await thread.status() == "idle"
        assert max(starts(await thread.replay(run))) <= 2


async def test_code_that_holds_the_interpreter_affects_no_other_run(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    worker_cluster.ready_workers(2)
    innocent = [await Thread.create(worker_cluster.url) for _ in range(2)]
    beside = [
        await thread.start("linger", configurable={"log": str(log), "seconds": 1})
        for thread in innocent
    ]
    await log.noted("begin", len(beside))
    events = await events_of_run(worker_cluster, log, how="hold")
    assert events[-1].data == {"status": "success"}  # at the latest in its own process
    for thread, run in zip(innocent, beside, strict=True):
        assert await thread.ended(run, within=30) == "success"


async def test_an_isolated_graph_does_not_end_its_worker(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    [worker] = worker_cluster.ready_workers(1, limit=1)
    bystander = await Thread.create(worker_cluster.url)
    beside = await bystander.start("linger", configurable={"log": str(log), "seconds": 2})
    await log.noted("begin")
    events = await events_of_run(worker_cluster, log, "leave_apart", how="segfault")
    assert starts(events) == [1, 2]
    assert "SIGSEGV" in events[-2].data["message"]
    assert events[-1].data == {"status": "error"}
    fine = await events_of_run(worker_cluster, log, "leave_apart")
    assert [event.name for event in fine] == ["metadata", "updates", "end"]
    raised = await events_of_run(worker_cluster, log, "leave_apart", how="SystemExit")
    assert [event.name for event in raised] == ["metadata", "error", "end"]
    assert raised[1].data["error"] == "SystemExit"
    assert worker.pid not in {note["pid"] for note in log.notes() if note["run"] != beside}
    assert await bystander.ended(beside) == "success"
    assert starts(await bystander.replay(beside)) == [1]
    assert worker.process.poll() is None


async def test_an_isolated_process_that_does_not_stop_is_killed(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    worker_cluster.ready_workers(1)
    thread = await Thread.create(worker_cluster.url)
    run = await thread.start("leave_apart", configurable={"log": str(log), "how": "stay"})
    [note] = await log.noted("begin")
    begun = time.monotonic()
    status, _ = await call_api(
        worker_cluster.url, "POST", f"{thread.runs_path}/{run}/cancel?wait=1"
    )
    assert status == 200
    assert time.monotonic() - begun < 8
    assert (await thread.run(run))["status"] == "interrupted"
    await until(lambda: not alive(note["pid"]), what="the end of the process")


async def test_an_isolated_process_ends_with_its_worker_and_the_run_continues(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    worker_cluster.ready_workers(2)
    thread = await Thread.create(worker_cluster.url)
    knobs = {"log": str(log), "how": "wait"}
    run = await thread.start("leave_apart", configurable=knobs)
    [note] = await log.noted("begin")
    parent = worker_cluster.worker(parent_of(note["pid"]))
    parent.kill()
    await until(lambda: not alive(note["pid"]), what="the end of the process")
    await log.noted("begin", 2, within=LEASE + 15)
    log.open_gate()
    assert await thread.ended(run) == "success"
    assert starts(await thread.replay(run)) == [1, 2]


async def test_a_drain_hands_an_isolated_run_back(worker_cluster: Cluster, log: NodeLog) -> None:
    worker_cluster.ready_workers(2)
    thread = await Thread.create(worker_cluster.url)
    run = await thread.start("leave_apart", configurable={"log": str(log), "how": "wait"})
    [note] = await log.noted("begin")
    leaving = worker_cluster.worker(parent_of(note["pid"]))
    leaving.send(signal.SIGTERM)
    await log.noted("begin", 2, within=20)
    log.open_gate()
    assert await asyncio.to_thread(leaving.wait) == 0
    assert await thread.ended(run) == "success"
    assert starts(await thread.replay(run)) == [1, 1]
    assert not alive(note["pid"])


async def test_a_run_that_lost_many_workers_is_isolated(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    """The other runs of its worker continue on another worker first, without using up an attempt."""
    [first] = worker_cluster.ready_workers(1, limit=1)
    thread, other = await Thread.create(worker_cluster.url), await Thread.create(worker_cluster.url)
    knobs = {"log": str(log), "how": "wait"}
    run = await thread.start("leave", configurable=knobs)
    await log.noted("begin")
    for lapses in (2, 3):
        worker_cluster.ready_workers(1, limit=1)
        first.kill()
        [first] = worker_cluster.ready_workers(1)
        if lapses == 3:
            beside = await other.start("linger", configurable={"log": f"{log}.other", "seconds": 2})
        await log.noted("begin", lapses, within=LEASE + 25)
    assert any("while its worker executes no other run" in line for line in first.lines)
    log.open_gate()
    assert await thread.ended(run) == "success"
    assert starts(await thread.replay(run)) == [1, 2, 3]
    assert await other.ended(beside, within=20) == "success"
    assert set(starts(await other.replay(beside))) == {1}


def alive(pid: int) -> bool:
    """Returns whether the process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def parent_of(pid: int) -> int:
    """Returns the parent's process id."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])
