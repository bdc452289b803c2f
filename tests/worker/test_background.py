"""Services: the order in which they stop, and the effect of one that fails."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from harness.projects import GRAPHS, clean_imports, write
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import assistants
from millstream.shared.langgraph_json import read_project
from millstream.shared.redis import Client
from millstream.shared.settings import Settings
from millstream.worker import graphs, wiring
from millstream.worker.background import Service, ServiceEndedError, Services, Step, periodic
from millstream.worker.isolation.processes import Processes
from millstream.worker.store.lazy import ProjectStore
from millstream.worker.webhooks.client import WebhookClient


class Recorder:
    """Makes services, and records their steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str, error: Exception | None = None) -> Step:
        async def step() -> None:
            self.steps.append(text)
            if error is not None:
                raise error

        return step

    def service(self, name: str, error: Exception | None = None) -> Service:
        """Returns a service that records its steps; its drain and its close raise `error`."""

        async def run() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.steps.append(f"{name} ended")

        drain = self.step(f"{name} drained", error)
        return Service(name, run, drain, self.step(f"{name} closed", error))


def stopped() -> asyncio.Event:
    stop = asyncio.Event()
    stop.set()
    return stop


async def test_services_stop_one_after_the_other_the_last_first() -> None:
    record = Recorder()
    async with Services([record.service("first"), record.service("last")]) as services:
        await asyncio.sleep(0)
        await services.until(stopped())
        assert record.steps == []
    assert record.steps == [
        "last drained", "last ended", "last closed", "first drained", "first ended", "first closed",
    ]  # fmt: skip


async def test_a_service_runs_while_it_and_later_services_drain() -> None:
    working, ended = asyncio.Event(), False

    async def run() -> None:
        nonlocal ended
        try:
            while True:
                working.set()
                await asyncio.sleep(0)
        finally:
            ended = True

    async def drain() -> None:
        assert not ended
        working.clear()
        await working.wait()

    idle = asyncio.Event().wait
    async with Services([Service("first", run), Service("last", idle, drain)]):
        await working.wait()
    async with Services([Service("alone", run, drain)]):
        await working.wait()
    assert ended


async def test_a_failed_stop_does_not_prevent_other_stops(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = Recorder()
    broken = record.service("broken", RuntimeError("no"))
    async with Services([record.service("first"), broken]):
        await asyncio.sleep(0)
    assert record.steps[-3:] == ["first drained", "first ended", "first closed"]
    assert record.steps[:3] == ["broken drained", "broken ended", "broken closed"]
    assert [r.getMessage() for r in caplog.records] == [
        "a step to stop the service 'broken' failed"
    ] * 2


async def _returns() -> None:
    pass


async def _raises() -> None:
    raise RuntimeError("a fault of ours")


async def _is_cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("ends", "logged"),
    [(_returns, []), (_is_cancelled, []), (_raises, ["the service 'heartbeat' failed"])],
)
async def test_a_service_that_ends_by_itself_ends_the_others(
    ends: Callable[[], Awaitable[None]], logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    record = Recorder()
    with pytest.raises(
        ServiceEndedError, match=r"a service of it has ended \('heartbeat'\); see its log"
    ):
        async with Services([record.service("first"), Service("heartbeat", ends)]) as services:
            await services.until(asyncio.Event())
    assert record.steps == ["first drained", "first ended", "first closed"]
    assert [r.getMessage() for r in caplog.records] == logged
    assert all(r.exc_info for r in caplog.records)


async def test_a_periodic_service_survives_its_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    rounds = 0

    async def run_once() -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 3:
            raise ValueError("twice")

    async with Services([periodic("crons", 0.001, run_once)]):
        await until(lambda: rounds > 3)
    [log_record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert log_record.getMessage().startswith("The service 'crons'")


async def test_a_worker_stops_in_the_order_that_its_runs_need(
    real_redis: Client,
    redis_server: EmbeddedRedis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the last runs end, their leases are renewed and their events published. The worker counts as gone before
    it reads no calls any more: the webhooks may take minutes to drain."""
    write(tmp_path, "mine.py", GRAPHS)
    config = {"graphs": {"g": "./mine.py:compiled"}, "checkpointer": {"ttl": {"default_ttl": 5}}}
    file = write(tmp_path, "langgraph.json", json.dumps(config))
    settings = Settings(redis_url=redis_server.url.rpartition("/")[0] + "/1")
    closed: list[str] = []
    for kind in (Processes, ProjectStore, Redis, WebhookClient):
        monkeypatch.setattr(kind, "aclose", closing(kind, closed))
    with clean_imports():
        registry, project = graphs.load(file), await asyncio.to_thread(read_project, file)
        async with wiring.open_parts(registry, settings, project) as parts:
            await wiring.announce(parts)
            reports = wiring.liveness_reports(parts)
            services = wiring.services(parts, reports, asyncio.Event())
            assert closed == []
    assert closed == ["Processes", "ProjectStore", "Redis", "Redis", "WebhookClient"]
    announced = await assistants.GraphDirectory(real_redis).project()
    assert (announced.thread_ttl, announced.external) == (5, False)
    assert [service.name for service in reversed(services)] == [
        "dispatch", "liveness", "calls", "crons", "expiry", "reaper", "sweep", "webhooks", "permissions",
        "heartbeat", "publisher",
    ]  # fmt: skip
    drained = [service.name for service in reversed(services) if service.drain is not None]
    assert drained == ["dispatch", "webhooks"]


def closing(kind: Any, closed: list[str]) -> Callable[[Any], Awaitable[None]]:
    """Returns the `aclose` of a class, which is recorded."""
    aclose = kind.aclose

    async def recorded(self: Any, *args: Any) -> None:
        closed.append(kind.__name__)
        await aclose(self, *args)

    return recorded
