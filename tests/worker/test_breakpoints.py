"""A run that paused at a breakpoint pauses there again if its worker died before the end of the run."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import runs
from millstream.shared.rules.lifecycle import RunStatus
from worker.simulated_thread import Dying, SimulatedThread, graph_input, simulated_thread_of
from worker.test_record_property import agree

STOPS: dict[str, dict[str, Any]] = {
    "before a node": {"interrupt_before": ["answer"]},
    "after a node": {"interrupt_after": ["think"]},
    "before each": {"interrupt_before": "*"},
    "after each": {"interrupt_after": "*"},
}


@pytest.fixture
async def simulated(redis_server: EmbeddedRedis) -> AsyncIterator[SimulatedThread]:
    url = redis_server.url.rpartition("/")[0] + "/3"
    async with simulated_thread_of(url, "typed") as created:
        yield created


@pytest.mark.parametrize("stops", STOPS.values(), ids=STOPS)
async def test_the_next_attempt_stops_at_the_same_breakpoint(
    simulated: SimulatedThread, stops: dict[str, Any]
) -> None:
    run = await simulated.admit(input=graph_input("typed", "answer"), **stops)
    await simulated.executed(run, Dying)
    stopped = await simulated.state()
    assert stopped["next"]
    await simulated.executed(run)
    assert await simulated.state() == stopped
    assert (await runs.get_run(simulated.redis, simulated.thread, run)).status is RunStatus.SUCCESS
    await agree(simulated)


@pytest.mark.parametrize("stops", STOPS.values(), ids=STOPS)
async def test_a_passed_breakpoint_does_not_stop_the_next_attempt(
    simulated: SimulatedThread, stops: dict[str, Any]
) -> None:
    before = {"interrupt_before": ["answer"]}
    await simulated.executed(await simulated.admit(input=graph_input("typed", "answer"), **before))
    run = await simulated.admit(input=None, **stops)
    await simulated.executed(run, Dying)
    await simulated.executed(run)
    assert (await simulated.state())["next"] == []
    assert (await simulated.state())["values"]["answer"] == "answer"


async def test_a_run_without_a_checkpoint_restarts(
    simulated: SimulatedThread,
) -> None:
    run = await simulated.admit(input=graph_input("typed", "answer"), interrupt_before="*")
    await simulated.claim(run)  # the worker dies
    await simulated.executed(run)
    assert (await simulated.state())["next"] == ["think"]


async def test_a_run_beyond_its_breakpoints_ends(simulated: SimulatedThread) -> None:
    run = await simulated.admit(input=graph_input("typed", "answer"), interrupt_before=["nowhere"])
    await simulated.executed(run, Dying)
    await simulated.executed(run)
    assert (await runs.get_run(simulated.redis, simulated.thread, run)).status is RunStatus.SUCCESS
    assert (await simulated.state())["next"] == []
