"""A worker's reports to an observer, each from one place in the code."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypedDict, get_args

import msgspec
import pytest
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph

from contract.builders import a_spec, admit, new_id
from harness.projects import config_file
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.langgraph_json import read_project
from millstream.shared.observer import UNOBSERVED, RunObserver, WriteKind
from millstream.shared.redis import Client
from millstream.shared.rules.lease_policy import LeasePolicy
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.settings import Settings
from millstream.shared.wire import RunKwargs, RunSpec
from millstream.worker import wiring
from millstream.worker.background import Services
from millstream.worker.graphs import GraphRegistry, GraphSource
from millstream.worker.leases.availability import RedisAvailability

WORKER = Path(__file__).parents[2] / "worker"
REPORTED = {
    "claimed", "appended", "appended_at_end", "checkpoint_stored", "step_ended", "renewed", "lease_lost",
    "handed_back", "crashed", "cancelled", "ended", "released", "draining", "webhook_called", "outage",
}  # fmt: skip


class Recorder(RunObserver):
    """Records the reports in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name not in {*REPORTED, "write_refused"}:
            return super().__getattribute__(name)
        return lambda *args: self.calls.append((name, args))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Returns the arguments of each call of one method."""
        return [args for called, args in self.calls if called == name]


class State(TypedDict):
    n: int


class Gate:
    """A graph of one node that waits."""

    def __init__(self) -> None:
        self.entered, self.open = asyncio.Event(), asyncio.Event()

    async def node(self, state: State) -> State:
        get_stream_writer()("x" * 100)
        self.entered.set()
        await self.open.wait()
        get_stream_writer()("behind the gate")
        return {"n": state["n"] + 1}

    def graph(self) -> Any:
        return StateGraph(State).add_node("a", self.node).add_edge(START, "a").compile()


@asynccontextmanager
async def working(
    server: EmbeddedRedis, folder: Path, gate: Gate, observer: RunObserver
) -> AsyncIterator[asyncio.Event]:
    """Yields a worker that serves the graph `g`. Setting the event ends the grace of its drain."""
    file = config_file(folder, {"g": "./g.py:graph"})
    project = await asyncio.to_thread(read_project, file)
    settings = Settings(redis_url=server.url.rpartition("/")[0] + "/1", lease=3.0, drain_grace=10)
    registry = GraphRegistry([GraphSource("g", gate.graph(), None)])
    async with wiring.open_parts(registry, settings, project, observer) as parts:
        reports = wiring.liveness_reports(parts)
        await wiring.announce(parts)
        hurry = asyncio.Event()
        async with Services(wiring.services(parts, reports, hurry)):
            yield hurry


async def a_run(redis: Client) -> RunSpec:
    thread = new_id()
    config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    kwargs = RunKwargs(input={"n": 1}, stream_mode=["custom"], config=config)
    return await admit(redis, a_spec(thread, graph_id="g", kwargs=msgspec.json.encode(kwargs)))


async def test_a_run_is_claimed_appended_stored_and_ended(
    real_redis: Client, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    seen, gate = Recorder(), Gate()
    spec = await a_run(real_redis)
    async with working(redis_server, tmp_path, gate, seen):
        await until(
            lambda: seen.of("appended")
        )  # what is not yet sent, the end of a run takes along
        gate.open.set()
        await until(lambda: seen.of("ended"))
    [(claim, waited)] = seen.of("claimed")
    assert claim.spec == spec
    assert 0 <= waited < 60_000
    [(ended, status, seconds)] = seen.of("ended")
    assert (ended, status) == (claim, RunStatus.SUCCESS)
    assert 0 < seconds < 60
    assert sum(count for count, _, _ in seen.of("appended")) >= 1
    assert sum(size for _, size, _ in seen.of("appended")) > 100
    assert len(seen.of("checkpoint_stored")) >= 2
    for size, took in [args[-2:] for args in seen.of("checkpoint_stored") + seen.of("appended")]:
        assert size > 0
        assert 0 <= took < 60
    assert [name for name, _ in seen.calls if name in ("claimed", "ended")] == ["claimed", "ended"]
    assert not seen.of("lease_lost") + seen.of("handed_back") + seen.of("outage")
    assert not seen.of("write_refused") + seen.of("cancelled") + seen.of("crashed")
    assert [graph for graph, _ in seen.of("step_ended")] == ["g"] * len(seen.of("step_ended"))
    assert len(seen.of("step_ended")) == len(seen.of("checkpoint_stored")) - 1
    [(last, size)] = seen.of("appended_at_end")
    entries = await real_redis.xlen(keys.events(spec.thread_id, spec.run_id))
    # The claim stores `metadata`.
    assert 1 + last + sum(count for count, _, _ in seen.of("appended")) == entries
    assert (size > 0) == (last > 1)  # `end` alone has no data of the run
    assert seen.of("released") == [(claim,)]
    assert seen.of("draining") == [()]


async def test_a_drain_hands_back(
    real_redis: Client, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    seen, gate = Recorder(), Gate()
    await a_run(real_redis)
    async with working(redis_server, tmp_path, gate, seen) as hurry:
        await until(gate.entered.is_set)
        hurry.set()
    [(claim, _)] = seen.of("claimed")
    assert seen.of("handed_back") == seen.of("released") == [(claim,)]
    assert not seen.of("ended") + seen.of("lease_lost")


async def test_a_lease_that_is_lost_is_reported_once(
    real_redis: Client, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    seen, gate = Recorder(), Gate()
    spec = await a_run(real_redis)
    async with working(redis_server, tmp_path, gate, seen):
        await until(gate.entered.is_set)
        await real_redis.hincrby(keys.run(spec.thread_id, spec.run_id), "fence", 1)  # type: ignore[misc]
        gate.open.set()
        await until(lambda: seen.of("lease_lost"))
    [(claim, _)] = seen.of("claimed")
    assert seen.of("lease_lost") == [(claim,)]
    assert not seen.of("ended") + seen.of("handed_back")
    assert ("events",) in seen.of("write_refused")
    assert seen.of("released") == [(claim,)]


def test_an_outage_is_reported_once_when_it_is_over() -> None:
    seen = Recorder()
    availability = RedisAvailability(LeasePolicy(30), seen)
    availability.mark_up()
    assert seen.calls == []
    for _ in range(2):
        availability.mark_down()
    assert seen.calls == []
    for _ in range(2):
        availability.mark_up()
    [(seconds,)] = seen.of("outage")
    assert 0 <= seconds < 60


@pytest.mark.parametrize("name", sorted(REPORTED))
def test_each_method_is_called_in_one_place(name: str) -> None:
    assert callable(getattr(UNOBSERVED, name))
    text = "".join(path.read_text() for path in WORKER.rglob("*.py"))
    assert len(re.findall(rf"observer\.{name}\(", text)) == 1


@pytest.mark.parametrize("kind", get_args(WriteKind))
def test_each_kind_of_a_refused_write_is_reported_in_one_place(kind: str) -> None:
    text = "".join(path.read_text() for path in WORKER.rglob("*.py"))
    assert text.count(f'observer.write_refused("{kind}")') == 1
