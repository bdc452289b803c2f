"""A thread's record agrees with its state after any sequence of steps.

`make property` tries 2,000 sequences; the suite tries fewer (RECORD_EXAMPLES).
"""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import runs, threads
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelAction
from millstream.worker.stop_reason import StopReason
from worker.simulated_thread import (
    GRAPHS,
    HIDDEN,
    MAX_ATTEMPTS,
    Dying,
    SimulatedThread,
    graph_input,
    simulated_thread_of,
)

MAX_SECONDS = 30  # that one sequence may take
EXAMPLES = int(os.environ.get("RECORD_EXAMPLES", "20"))
pytestmark = pytest.mark.timeout(120 + 2 * EXAMPLES)

DEEDS = ("answer", "raise", "ask")
STEPS = (
    *(("run", do) for do in DEEDS),
    *(("stops", do) for do in DEEDS),
    ("goes on", "nothing"),
    *(("resume", how) for how in ("plainly", "all", "first", "boom", "unknown", "strictly")),
    *(("cancel", action.value) for action in CancelAction),
    ("cancel pending", "nothing"),
    ("time is up", "nothing"),
    *(("killed at the end of", do) for do in (*DEEDS, "stops")),
    ("killed in the middle", "nothing"),
    ("given up", "nothing"),
    *(("update", how) for how in ("fits", "is wrong", "of no node")),
    ("fork", "answer"),
    ("fork", "ask"),
    ("prune", "nothing"),
    ("copy", "nothing"),
)
Step = tuple[str, str]


async def take(simulated: SimulatedThread, step: Step) -> None:  # noqa: C901 - one case a kind of step
    """Applies a step to the thread."""
    match step:
        case ("run", do):
            await ended(simulated, await simulated.admit(input=graph_input(simulated.graph, do)))
        case ("stops", do):
            await ended(
                simulated,
                await simulated.admit(input=graph_input(simulated.graph, do), interrupt_before="*"),
            )
        case ("goes on", _):
            await ended(simulated, await simulated.admit(input=None))
        case ("resume", how):
            await resume(simulated, how)
        case ("cancel", action):
            run = await simulated.admit(input=graph_input(simulated.graph, "wait"))
            await simulated.stopped(run, CancelAction(action))
            await noted(simulated, run)
        case ("cancel pending", _):
            run = await simulated.admit(input=graph_input(simulated.graph, "answer"))
            await runs.cancel(
                simulated.redis, simulated.thread, run, action=CancelAction.INTERRUPT, stream_ttl=60
            )
            hides(await simulated.output(run))  # the state that the thread had
        case ("time is up", _):
            simulated.context = replace(
                simulated.context, graphs=replace(simulated.graphs, job_timeout=0.15)
            )
            run = await simulated.admit(input=graph_input(simulated.graph, "wait"))
            await simulated.executed(run, waits=True)
            await noted(simulated, run)
            simulated.context = replace(simulated.context, graphs=simulated.graphs)
        case ("killed at the end of", do):
            more: dict[str, Any] = {"interrupt_before": "*"} if do == "stops" else {}
            values = graph_input(simulated.graph, "answer" if do == "stops" else do)
            run = await simulated.admit(input=values, **more)
            await simulated.executed(run, Dying)
            before = await simulated.state()
            await ended(simulated, run)
            if do != "raise":  # which it does anew
                assert (await simulated.state())["next"] == before["next"]
        case ("killed in the middle", _):
            run = await simulated.admit(input=graph_input(simulated.graph, "wait"))
            await simulated.stopped(run, StopReason.LOST)
            await simulated.stopped(run, CancelAction.INTERRUPT)
            await noted(simulated, run)
        case ("given up", _):
            run = await simulated.admit(input=graph_input(simulated.graph, "wait"))
            for _attempt in range(MAX_ATTEMPTS):
                await simulated.crashed(run)
            await ended(simulated, run)
        case ("update", how):
            values = graph_input(simulated.graph, "answer") if how != "is wrong" else "wrong"
            if await simulated.update(values, "nowhere" if how == "of no node" else None):
                simulated.failed = False
        case ("fork", do):
            checkpoint_ids = [s["checkpoint"]["checkpoint_id"] for s in await simulated.history()]
            if checkpoint_ids:
                position = {"checkpoint_id": checkpoint_ids[len(checkpoint_ids) // 2]}
                await ended(
                    simulated,
                    await simulated.admit(
                        input=graph_input(simulated.graph, do), position=position
                    ),
                )
        case ("prune", _):
            if await threads.exists(simulated.redis, simulated.thread):
                await threads.prune(simulated.redis, simulated.thread, "keep_latest")
        case ("copy", _):
            if await threads.exists(simulated.redis, simulated.thread):
                simulated.thread = (
                    await threads.copy_thread(simulated.redis, simulated.thread)
                ).thread_id


async def resume(simulated: SimulatedThread, how: str) -> None:
    """Resumes an open interrupt, or one that does not exist."""
    interrupt_ids = [i["id"] for i in (await simulated.state())["interrupts"]]
    answers: dict[str, Any] = {
        "plainly": "yes",
        "all": dict.fromkeys(interrupt_ids, "yes"),
        "first": dict.fromkeys(interrupt_ids[:1], "yes"),
        "boom": dict.fromkeys(interrupt_ids[:1], "boom"),
        "unknown": {"0" * 32: "yes"},
        "strictly": {"0" * 32: "yes"},
    }
    run = await simulated.admit(command={"resume": answers[how]}, strict_resume=how == "strictly")
    before = await simulated.state()
    await simulated.executed(run)
    if how != "strictly" or (await simulated.state()) != before:
        await noted(simulated, run)
    else:
        assert (
            await runs.get_run(simulated.redis, simulated.thread, run)
        ).status is RunStatus.ERROR


async def ended(simulated: SimulatedThread, run: str) -> None:
    """Executes the run to its end."""
    await simulated.executed(run)
    await noted(simulated, run)


async def noted(simulated: SimulatedThread, run: str) -> None:
    """Records the result of the newest run, and checks its events."""
    run_record = await runs.find_run(simulated.redis, simulated.thread, run)
    if run_record is None:  # rolled back
        return
    simulated.failed = run_record.status in (RunStatus.ERROR, RunStatus.TIMEOUT)
    output = await simulated.output(run)
    hides(output)
    if isinstance(output, dict) and "__error__" not in output:
        if simulated.graph not in ("plain", "private", "work"):
            assert "do" not in output
        # A run that did not pause has no interrupts.
        waits = (await simulated.state())["next"] and run_record.status is RunStatus.SUCCESS
        assert ("__interrupt__" in output) == bool(waits)


def hides(output: Any) -> None:
    """Fails if a client gets a key that is not in the graph's output schema."""
    assert not isinstance(output, dict) or not HIDDEN & output.keys()


async def agree(simulated: SimulatedThread) -> None:
    """Fails unless the record agrees with the state."""
    if not await threads.exists(simulated.redis, simulated.thread):
        return
    record, state = (
        await threads.get_thread(simulated.redis, simulated.thread),
        await simulated.state(),
    )
    if state["metadata"] is None:
        assert record.values is None
    else:
        assert json.loads(record.values or b"") == state["values"]
    waiting = {task["id"]: task["interrupts"] for task in state["tasks"] if task["interrupts"]}
    assert json.loads(record.interrupts) == waiting
    left = "interrupted" if state["next"] else "idle"
    assert record.status.value == ("error" if simulated.failed else left)
    assert (record.error is not None) >= simulated.failed


async def live(url: str, graph: str, steps: list[Step]) -> None:
    """Applies the steps, and checks the thread after each."""
    async with simulated_thread_of(url, graph) as simulated:
        for step in steps:
            await take(simulated, step)
            simulated.log.append(" ".join(step))
            await agree(simulated)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as new_runner:
        yield new_runner


@pytest.fixture(scope="module")
def url(redis_server: EmbeddedRedis) -> str:
    return redis_server.url.rpartition("/")[0] + "/3"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    graph=st.sampled_from(GRAPHS), steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)
)
@example("asking", [("run", "ask"), ("resume", "plainly"), ("resume", "boom"), ("resume", "first")])
@example("typed", [("run", "answer"), ("update", "fits"), ("cancel pending", "nothing")])
@example("asking", [("run", "ask"), ("cancel", "rollback"), ("update", "is wrong"), ("copy", "")])
def test_the_record_equals_the_state(
    runner: asyncio.Runner, url: str, graph: str, steps: list[Step]
) -> None:
    runner.run(asyncio.wait_for(live(url, graph, steps), MAX_SECONDS))


@pytest.mark.parametrize("graph", ["typed", "asking", "outer", "work"])
def test_each_step_after_an_interrupt_keeps_record_and_state_equal(
    runner: asyncio.Runner, url: str, graph: str
) -> None:
    async def simulated_thread() -> None:
        for step in STEPS:
            await live(url, graph, [("run", "ask"), step])

    runner.run(simulated_thread())
