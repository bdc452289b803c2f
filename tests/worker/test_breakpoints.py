"""A run that stopped at a breakpoint stops there again if its worker died before it could say so."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import runs
from millstream.shared.rules.lifecycle import RunStatus
from worker.lives import Dying, Life, given, living
from worker.test_record_property import agree

STOPS: dict[str, dict[str, Any]] = {
    "before a node": {"interrupt_before": ["answer"]},
    "after a node": {"interrupt_after": ["think"]},
    "before each": {"interrupt_before": "*"},
    "after each": {"interrupt_after": "*"},
}


@pytest.fixture
async def life(redis_server: EmbeddedRedis) -> AsyncIterator[Life]:
    url = redis_server.url.rpartition("/")[0] + "/3"
    async with living(url, "typed") as made:
        yield made


@pytest.mark.parametrize("stops", STOPS.values(), ids=STOPS)
async def test_the_next_attempt_stops_at_the_same_breakpoint(
    life: Life, stops: dict[str, Any]
) -> None:
    run = await life.admit(input=given("typed", "answer"), **stops)
    await life.executed(run, Dying)
    stopped = await life.state()
    assert stopped["next"]
    await life.executed(run)
    assert await life.state() == stopped
    assert (await runs.get_run(life.redis, life.thread, run)).status is RunStatus.SUCCESS
    await agree(life)


@pytest.mark.parametrize("stops", STOPS.values(), ids=STOPS)
async def test_a_breakpoint_that_was_passed_holds_up_no_attempt(
    life: Life, stops: dict[str, Any]
) -> None:
    before = {"interrupt_before": ["answer"]}
    await life.executed(await life.admit(input=given("typed", "answer"), **before))
    run = await life.admit(input=None, **stops)
    await life.executed(run, Dying)
    await life.executed(run)
    assert (await life.state())["next"] == []
    assert (await life.state())["values"]["answer"] == "answer"


async def test_a_run_that_died_before_its_first_checkpoint_begins_anew(life: Life) -> None:
    run = await life.admit(input=given("typed", "answer"), interrupt_before="*")
    await life.claim(run)  # and dies
    await life.executed(run)
    assert (await life.state())["next"] == ["think"]


async def test_a_run_beyond_its_breakpoints_ends(life: Life) -> None:
    run = await life.admit(input=given("typed", "answer"), interrupt_before=["nowhere"])
    await life.executed(run, Dying)
    await life.executed(run)
    assert (await runs.get_run(life.redis, life.thread, run)).status is RunStatus.SUCCESS
    assert (await life.state())["next"] == []
