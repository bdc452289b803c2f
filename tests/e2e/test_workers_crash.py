"""Workers that die, freeze or stop in the middle of a run."""

import signal
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from e2e.conftest import Cluster, NodeLog, Thread, dump
from e2e.raw_http import Event
from harness.waiting import until
from millstream.shared.redis import Client

pytestmark = pytest.mark.xdist_group("worker_cluster")

LEASE = 1.0  # s, LEASE_SECS of `worker_cluster`
STEPS = 6


def starts(events: list[Event]) -> list[int]:
    """Returns the attempts in the stream."""
    return [event.data["attempt"] for event in events if event.name == "metadata"]


def rise(events: list[Event]) -> bool:
    """Returns whether the events' ids rise strictly."""
    ids = [tuple(map(int, str(event.id).split("-"))) for event in events]
    return all(one < after for one, after in pairwise(ids))


def steps(log: NodeLog, what: str) -> list[int]:
    return [note["step"] for note in log.notes(what)]


def tracked(log: NodeLog, delay: float) -> dict[str, object]:
    """A run with durability `sync`."""
    return {
        "configurable": {"log": str(log), "n": STEPS, "delay": delay},
        "stream_mode": ["custom", "values"],
        "durability": "sync",
    }


async def test_sigterm_hands_the_run_to_another_worker(
    worker_cluster: Cluster, log: NodeLog, record_property: Callable[[str, object], None]
) -> None:
    worker_cluster.ready_workers(2)
    thread = await Thread.create(worker_cluster.url)
    async with await thread.stream("track", **tracked(log, 0.25)) as response:
        await response.until_events(3, "custom")
        first = worker_cluster.worker(log.notes()[-1]["pid"])
        signalled = time.monotonic()
        first.send(signal.SIGTERM)
        await response.until_events(2, "metadata")
        handed = time.monotonic() - signalled
        events = await response.events()
        _, run_id = response.ids
    record_property("handed_over_ms", round(handed * 1000))
    print("handed over after ms:", handed * 1000)  # noqa: T201
    assert handed < 8
    assert first.wait() == 0
    assert starts(events) == [1, 1]  # no attempt is used up
    assert rise(events)
    assert steps(log, "end") == list(range(STEPS))
    assert steps(log, "begin") == [0, 1, 2, 2, 3, 4, 5]
    assert events[-1].data == {"status": "success"}
    assert events[-2].data == {"items": list(range(STEPS))}
    assert await thread.status() == "idle"
    assert await thread.replay(run_id) == events


async def test_after_sigkill_another_worker_continues_the_run(
    worker_cluster: Cluster, log: NodeLog, record_property: Callable[[str, object], None]
) -> None:
    worker_cluster.ready_workers(2)
    thread = await Thread.create(worker_cluster.url)
    async with await thread.stream("track", **tracked(log, 0.25)) as response:
        await response.until_events(3, "custom")
        killed = time.monotonic()
        worker_cluster.worker(log.notes()[-1]["pid"]).kill()
        await response.until_events(2, "metadata")
        gap = time.monotonic() - killed
        events = await response.events()
        _, run_id = response.ids
    record_property("gone_on_ms", round(gap * 1000))
    print("gone on after ms:", gap * 1000)  # noqa: T201
    assert gap < LEASE + 8
    assert starts(events) == [1, 2]
    assert rise(events)
    assert steps(log, "end") == list(range(STEPS))
    assert steps(log, "begin") == [0, 1, 2, 2, 3, 4, 5]
    assert {note["attempt"] for note in log.notes("end")} == {1, 2}
    assert events[-1].data == {"status": "success"}
    assert events[-2].data == {"items": list(range(STEPS))}
    assert (await thread.run(run_id))["status"] == "success"
    assert await thread.status() == "idle"
    assert await thread.replay(run_id) == events


async def test_a_worker_that_resumes_after_its_lease_changes_nothing(
    worker_cluster: Cluster, worker_redis: Client, log: NodeLog
) -> None:
    worker_cluster.ready_workers(2)
    thread = await Thread.create(worker_cluster.url)
    async with await thread.stream("track", **tracked(log, 0.3)) as response:
        await response.until_events(2, "custom")
        zombie = worker_cluster.worker(log.notes()[-1]["pid"])
        zombie.send(signal.SIGSTOP)
        try:
            frozen = time.monotonic()
            events = await response.events()
            _, run_id = response.ids
            assert starts(events) == [1, 2]
            assert events[-1].data == {"status": "success"}
            await until(lambda: time.monotonic() - frozen > 3 * LEASE)
            before = await dump(worker_redis, thread.id, run_id)
        finally:
            zombie.send(signal.SIGCONT)
    await until(lambda: any("lost its lease" in line for line in zombie.lines))
    # The worker has dropped that run when it has executed another.
    assert await dump(worker_redis, thread.id, run_id) == before
    for _ in range(20):
        probe = await Thread.create(worker_cluster.url)
        run = await probe.start("track", configurable={"log": str(log), "n": 1, "delay": 0.05})
        assert await probe.ended(run) == "success"
        if log.notes("end", run)[0]["pid"] == zombie.pid:
            break
    assert await dump(worker_redis, thread.id, run_id) == before
    assert await thread.replay(run_id) == events
    assert (await thread.run(run_id))["status"] == "success"


async def test_a_run_that_kills_its_workers_is_exhausted(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    worker_cluster.ready_workers(3)
    thread = await Thread.create(worker_cluster.url)
    waiting: list[str] = []
    async with await thread.stream("die", configurable={"log": str(log)}) as response:
        waiting.append(await thread.start("track", configurable={"n": 1}))
        events = await response.events()
        _, run_id = response.ids
    assert [event.name for event in events] == [
        "metadata", "metadata", "error", "end",
    ] or [event.name for event in events] == [
        "metadata", "values", "metadata", "values", "error", "end",
    ]  # fmt: skip
    assert starts(events) == [1, 2]
    assert rise(events)
    assert events[-2].data["error"] == "AttemptsExhausted"
    assert "2 attempts" in events[-2].data["message"]
    assert events[-1].data == {"status": "error"}
    assert len(log.notes("begin")) == 2
    assert (await thread.run(run_id))["status"] == "error"
    # The thread accepts further runs.
    assert await thread.ended(waiting[0]) == "success"
    assert await thread.status() == "idle"
