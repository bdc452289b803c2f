"""A run that stopped at a breakpoint stops there again if its worker died before it could say so."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import runs
from millstream.shared.rules.lifecycle import RunStatus
from worker.simulated_thread import Dying, SimulatedThread, given, simulated_thread_of
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
    async with simulated_thread_of(url, "typed") as made:
        yield made


@pytest.mark.parametrize("stops", STOPS.values(), ids=STOPS)
async def test_the_next_attempt_stops_at_the_same_breakpoint(
    simulated: SimulatedThread, stops: dict[str, Any]
) -> None:
    run = await simulated.admit(input=given("typed", "answer"), **stops)
    await simulated.executed(run, Dying)
    stopped = await simulated.state()
    assert stopped["next"]
    await simulated.executed(run)
    assert await simulated.state() == stopped
    assert (await runs.get_run(simulated.redis, simulated.thread, run)).status is RunStatus.SUCCESS
    await agree(simulated)


@pytest.mark.parametrize("stops", STOPS.values(), ids=STOPS)
async def test_a_breakpoint_that_was_passed_holds_up_no_attempt(
    simulated: SimulatedThread, stops: dict[str, Any]
) -> None:
    before = {"interrupt_before": ["answer"]}
    await simulated.executed(await simulated.admit(input=given("typed", "answer"), **before))
    run = await simulated.admit(input=None, **stops)
    await simulated.executed(run, Dying)
    await simulated.executed(run)
    assert (await simulated.state())["next"] == []
    assert (await simulated.state())["values"]["answer"] == "answer"


async def test_a_run_that_died_before_its_first_checkpoint_begins_anew(
    simulated: SimulatedThread,
) -> None:
    run = await simulated.admit(input=given("typed", "answer"), interrupt_before="*")
    await simulated.claim(run)  # and dies
    await simulated.executed(run)
    assert (await simulated.state())["next"] == ["think"]


async def test_a_run_beyond_its_breakpoints_ends(simulated: SimulatedThread) -> None:
    run = await simulated.admit(input=given("typed", "answer"), interrupt_before=["nowhere"])
    await simulated.executed(run, Dying)
    await simulated.executed(run)
    assert (await runs.get_run(simulated.redis, simulated.thread, run)).status is RunStatus.SUCCESS
    assert (await simulated.state())["next"] == []
