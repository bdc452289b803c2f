"""Metrics of workers whose runs crash, are frozen, are handed back, or are executed in processes of their own."""

import asyncio
import signal

import pytest

from e2e.conftest import Cluster, NodeLog, Thread
from harness.scraping import Scrape
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("worker_cluster")
SECONDS = 30.0  # enough to start a process on a busy machine


async def test_a_run_in_a_process_of_its_own_is_counted_by_its_worker(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    [worker] = worker_cluster.ready_workers(1, limit=1)
    before = await Scrape.of(worker.metrics_url)
    thread = await Thread.create(worker_cluster.url)
    run = await thread.start("leave_apart", configurable={"log": str(log), "how": "wait"})
    await log.noted("begin", within=SECONDS)
    log.open_gate()
    assert await thread.ended(run, SECONDS) == "success"
    events = await thread.replay(run)

    async def is_counted() -> bool:
        now = await Scrape.of(worker.metrics_url)

        def more(name: str, **labels: str) -> float:
            return now.value(name, **labels) - before.value(name, **labels)

        return (
            more("millstream_runs_finished_total", graph="leave_apart", status="success") == 1
            and more("millstream_events_published_total") == len(events) - 1  # `metadata`
            and more("millstream_checkpoint_write_seconds_count") >= 2
            and more("millstream_step_duration_seconds_count", graph="leave_apart") >= 1
        )

    await until(is_counted, within=SECONDS)


async def test_a_run_that_ends_its_process_too_often_is_counted_as_exhausted(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    [worker] = worker_cluster.ready_workers(1, limit=1)
    before = await Scrape.of(worker.metrics_url)
    thread = await Thread.create(worker_cluster.url)
    run = await thread.start("leave_apart", configurable={"log": str(log), "how": "segfault"})
    assert await thread.ended(run, SECONDS) == "error"

    async def is_counted() -> bool:
        now = await Scrape.of(worker.metrics_url)
        once = {
            "millstream_runs_exhausted_total": {"graph": "leave_apart"},
            "millstream_runs_finished_total": {"graph": "leave_apart", "status": "error"},
            "millstream_run_wait_seconds_count": {"attempt": "first"},
        }
        twice = {
            "millstream_runs_handed_back_total": {"reason": "crash"},
            "millstream_run_attempts_total": {"reason": "crashed"},
        }
        return all(
            now.value(name, **labels) - before.value(name, **labels) == count
            for count, series in ((1, once), (2, twice))
            for name, labels in series.items()
        )

    await until(is_counted, within=SECONDS)


async def test_a_worker_that_stood_still_counts_its_lost_lease_and_another_the_next_attempt(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    [frozen] = worker_cluster.ready_workers(1, limit=1)
    thread = await Thread.create(worker_cluster.url)
    run = await thread.start("leave", configurable={"log": str(log), "how": "wait"})
    await log.noted("begin", within=SECONDS)
    before = await Scrape.of(frozen.metrics_url)
    frozen.send(signal.SIGSTOP)
    [_, other] = worker_cluster.ready_workers(2)
    try:
        await log.noted("begin", 2, within=SECONDS)
        scrape = await Scrape.of(other.metrics_url)
        assert scrape.value("millstream_run_wait_seconds_count", attempt="again") == 1
        assert scrape.value("millstream_run_attempts_total", reason="lapsed") == 1
        assert scrape.value("millstream_worker_runs_in_flight") == 1
    finally:
        frozen.send(signal.SIGCONT)

    async def is_lost() -> bool:
        name = "millstream_leases_lapsed_total"
        return (await Scrape.of(frozen.metrics_url)).value(name) - before.value(name) == 1

    await until(is_lost, within=SECONDS)
    log.open_gate()
    assert await thread.ended(run, SECONDS) == "success"


async def test_a_draining_worker_still_answers_and_hands_its_run_back(
    worker_cluster: Cluster, log: NodeLog
) -> None:
    worker_cluster.ready_workers(1, limit=1)
    worker = worker_cluster.start_worker(BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="60").wait_ready()
    for each in worker_cluster.ready_workers(2):
        if each is not worker:
            each.stop()
    thread = await Thread.create(worker_cluster.url)
    run = await thread.start("leave", configurable={"log": str(log), "how": "wait"})
    await log.noted("begin", within=SECONDS)
    assert (await Scrape.of(worker.metrics_url)).value("millstream_worker_draining") == 0
    worker.send(signal.SIGTERM)

    async def is_draining() -> bool:
        return (await Scrape.of(worker.metrics_url)).value("millstream_worker_draining") == 1

    await until(is_draining, within=SECONDS)

    async def is_reported() -> bool:
        api = await Scrape.of(worker_cluster.url)
        return api.value("millstream_workers", state="draining") == 1

    await until(is_reported, within=SECONDS)
    log.open_gate()
    assert await thread.ended(run, SECONDS) == "success"
    assert await asyncio.to_thread(worker.wait) == 0
