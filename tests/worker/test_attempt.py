"""Runs whose graph can't be opened, or is executed in another process: each ends, and affects no other run."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, runs
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Claim
from millstream.worker.attempt import Attempt
from millstream.worker.execution import Execution, Unsent
from millstream.worker.final_record import ExitKind
from millstream.worker.graph_result import GraphResult
from millstream.worker.graphs import GraphSource
from millstream.worker.stop_reason import StopReason
from worker.simulated_thread import TTL, SimulatedThread, simulated_thread_of

FACTORY_CALLS: list[str] = []  # the calls of the factories


FAILED: list[str] = []  # nodes that have failed


def merged(old: list[str], new: list[str]) -> list[str]:
    """Cancels itself once a node has failed."""
    if FAILED:
        raise asyncio.CancelledError
    return [*old, *new]


class State(TypedDict):
    items: Annotated[list[str], merged]


def graph() -> Any:
    """Returns a graph with two parallel nodes: one answers, the other fails."""

    def answers(_: State) -> dict[str, list[str]]:
        return {"items": ["a"]}

    def fails(_: State) -> dict[str, list[str]]:
        FAILED.append("fails")
        raise ValueError("broken")

    builder: Any = StateGraph(State)
    for node in (answers, fails):
        builder.add_node(node)
        builder.add_edge(START, node.__name__)
    return builder.compile()


def factory(config: dict[str, Any]) -> Any:
    """Raises the exception with that name."""
    how = config["configurable"].get("how", "")
    FACTORY_CALLS.append(how)
    errors: dict[str, BaseException] = {
        "ValueError": ValueError("broken"),
        "SystemExit": SystemExit(3),
        "CancelledError": asyncio.CancelledError(),
        "GeneratorExit": GeneratorExit(),
    }
    if how in errors:
        raise errors[how]
    return graph()


class Elsewhere(Execution):
    """An execution in another process that has already ended with a result."""

    time_limit = 5.0

    def __init__(self, claim: Claim, ending: GraphResult, reason: StopReason | None) -> None:
        super().__init__(claim)
        self.ending, self.reason = ending, reason

    def _on_stop(self, reason: StopReason) -> None:
        """Does nothing: the execution has ended."""

    async def run(self) -> GraphResult:
        """Returns the result."""
        return self.ending

    async def close(self) -> Unsent:
        """Returns True: all events were sent."""
        return Unsent([], 0, 0, refused=False)


@pytest.fixture
async def simulated(redis_server: EmbeddedRedis) -> AsyncIterator[SimulatedThread]:
    FACTORY_CALLS.clear()
    FAILED.clear()
    url = redis_server.url.rpartition("/")[0] + "/3"
    sources = [
        GraphSource("made", factory, None),
        GraphSource("apart", factory, None, isolated=True),
        GraphSource("half", graph(), None),
    ]
    async with simulated_thread_of(url, "made", *sources) as simulated:
        yield simulated


async def status(simulated: SimulatedThread, run: str) -> RunStatus:
    """Returns the run's status."""
    record = await runs.find_run(simulated.redis, simulated.thread, run)
    assert record is not None
    return record.status


@pytest.mark.parametrize("how", ["ValueError", "SystemExit", "CancelledError", "GeneratorExit"])
async def test_a_raising_factory_is_called_once_and_ends_its_run(
    simulated: SimulatedThread, how: str
) -> None:
    run = await simulated.admit(input={}, position={"how": how})
    await simulated.executed(run)
    assert await status(simulated, run) == RunStatus.ERROR
    assert len(FACTORY_CALLS) == 1


async def test_a_self_cancelling_reducer_does_not_lose_the_end_of_its_run(
    simulated: SimulatedThread,
) -> None:
    simulated.graph = "half"
    run = await simulated.admit(input={"items": []})
    await simulated.executed(run)
    assert FAILED
    assert await status(simulated, run) == RunStatus.ERROR


async def test_the_factory_of_a_poison_graph_is_not_called_for_a_cancelled_run(
    simulated: SimulatedThread,
) -> None:
    """Its worker died. If the next worker called the factory to read the state, it would die too."""
    run = await simulated.admit(input={})
    await simulated.claim(run)
    await runs.cancel(
        simulated.redis, simulated.thread, run, action=CancelAction.INTERRUPT, stream_ttl=TTL
    )
    await simulated.executed(run)
    assert await status(simulated, run) == RunStatus.INTERRUPTED
    assert not FACTORY_CALLS


@pytest.mark.parametrize(("graph_id", "calls"), [("apart", 0), ("made", 1)])
async def test_the_factory_of_an_isolated_graph_is_not_called_in_the_worker(
    simulated: SimulatedThread, graph_id: str, calls: int
) -> None:
    simulated.graph = graph_id
    run = await simulated.admit(input={})
    claim = await simulated.claim(run)
    execution = Elsewhere(claim, GraphResult(kind=ExitKind.TIMED_OUT), None)
    await Attempt(claim, simulated.context, since=time.monotonic(), execution=execution).execute()
    assert await status(simulated, run) == RunStatus.TIMEOUT
    assert len(FACTORY_CALLS) == calls


@pytest.mark.parametrize("reason", [StopReason.DRAIN, StopReason.NO_PROCESS])
async def test_a_drain_does_not_lose_the_end_of_a_run(
    simulated: SimulatedThread, reason: StopReason
) -> None:
    simulated.graph = "plain"
    run = await simulated.admit(input={})
    claim = await simulated.claim(run)
    execution = Elsewhere(claim, GraphResult(kind=ExitKind.TIMED_OUT), reason)
    await Attempt(claim, simulated.context, since=time.monotonic(), execution=execution).execute()
    assert await status(simulated, run) == RunStatus.TIMEOUT


async def test_a_run_with_an_unreadable_record_ends(simulated: SimulatedThread) -> None:
    simulated.graph = "plain"
    run = await simulated.admit(input={})
    record = keys.run(simulated.thread, run)
    await simulated.redis.hset(record, mapping={"spec": b"\xc1"})  # type: ignore[misc]
    await simulated.executed(run)
    stored_status = await simulated.redis.hget(record, "status")  # type: ignore[misc]
    assert stored_status == RunStatus.ERROR.encode()
