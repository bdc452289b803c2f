"""Runs whose graph can't be opened, or is not executed here: each comes to its end, and harms nobody."""

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

MADE: list[str] = []  # what was asked of the factories


FAILED: list[str] = []  # nodes that have


def merged(old: list[str], new: list[str]) -> list[str]:
    """Cancels itself once a node has failed."""
    if FAILED:
        raise asyncio.CancelledError
    return [*old, *new]


class State(TypedDict):
    told: Annotated[list[str], merged]


def graph() -> Any:
    """Returns a graph of two nodes at a time: one answers, the other fails."""

    def answers(_: State) -> dict[str, list[str]]:
        return {"told": ["a"]}

    def fails(_: State) -> dict[str, list[str]]:
        FAILED.append("fails")
        raise ValueError("broken")

    builder: Any = StateGraph(State)
    for node in (answers, fails):
        builder.add_node(node)
        builder.add_edge(START, node.__name__)
    return builder.compile()


def factory(config: dict[str, Any]) -> Any:
    """Raises what it is asked for, by name."""
    how = config["configurable"].get("how", "")
    MADE.append(how)
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
    """What is executed in another process, and has ended there like this."""

    time_limit = 5.0

    def __init__(self, claim: Claim, ending: GraphResult, reason: StopReason | None) -> None:
        super().__init__(claim)
        self.ending, self.reason = ending, reason

    def _on_stop(self, reason: StopReason) -> None:
        """Is too late."""

    async def run(self) -> GraphResult:
        """Returns the end."""
        return self.ending

    async def close(self) -> Unsent:
        """Returns that all events were sent."""
        return Unsent([], 0, 0, refused=False)


@pytest.fixture
async def simulated(redis_server: EmbeddedRedis) -> AsyncIterator[SimulatedThread]:
    MADE.clear()
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
async def test_a_factory_that_raises_is_called_once_and_ends_its_run(
    simulated: SimulatedThread, how: str
) -> None:
    run = await simulated.admit(input={}, place={"how": how})
    await simulated.executed(run)
    assert await status(simulated, run) == RunStatus.ERROR
    assert len(MADE) == 1


async def test_a_state_whose_reducer_cancels_itself_leaves_the_end_of_its_run(
    simulated: SimulatedThread,
) -> None:
    simulated.graph = "half"
    run = await simulated.admit(input={"told": []})
    await simulated.executed(run)
    assert FAILED
    assert await status(simulated, run) == RunStatus.ERROR


async def test_a_factory_that_may_end_its_process_is_not_called_for_a_cancelled_run(
    simulated: SimulatedThread,
) -> None:
    """Its worker died; if it is called to read the state, the next worker dies too, and the next."""
    run = await simulated.admit(input={})
    await simulated.claim(run)
    await runs.cancel(
        simulated.redis, simulated.thread, run, action=CancelAction.INTERRUPT, stream_ttl=TTL
    )
    await simulated.executed(run)
    assert await status(simulated, run) == RunStatus.INTERRUPTED
    assert not MADE


@pytest.mark.parametrize(("graph_id", "made"), [("apart", 0), ("made", 1)])
async def test_the_factory_of_an_isolated_graph_is_not_called_in_the_worker(
    simulated: SimulatedThread, graph_id: str, made: int
) -> None:
    simulated.graph = graph_id
    run = await simulated.admit(input={})
    claim = await simulated.claim(run)
    execution = Elsewhere(claim, GraphResult(kind=ExitKind.TIMED_OUT), None)
    await Attempt(claim, simulated.context, since=time.monotonic(), execution=execution).execute()
    assert await status(simulated, run) == RunStatus.TIMEOUT
    assert len(MADE) == made


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


async def test_a_run_whose_record_can_not_be_read_ends(simulated: SimulatedThread) -> None:
    simulated.graph = "plain"
    run = await simulated.admit(input={})
    record = keys.run(simulated.thread, run)
    await simulated.redis.hset(record, mapping={"spec": b"\xc1"})  # type: ignore[misc]
    await simulated.executed(run)
    found = await simulated.redis.hget(record, "status")  # type: ignore[misc]
    assert found == RunStatus.ERROR.encode()
