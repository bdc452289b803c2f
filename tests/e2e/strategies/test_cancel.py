"""Cancel and timeout on a running system: a cancelled run ends, whatever its graph does."""

import asyncio
import signal
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from e2e.strategies.client import Client, NodeLog
from e2e.strategies.conftest import PrivateQueue
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import Client as Redis

LONG: dict[str, Any] = {"left": 100, "delay": 0.1}
MAX_STOP_SECONDS = 3.0  # roughly: a graph gets half a second to stop
STUBBORN = ["stubborn", "blocking", "nested_stubborn", "nested_blocking"]


def median(values: list[float]) -> float:
    return round(statistics.median(values) * 1000, 1)


async def test_cancel_returns_202_and_the_run_ends(client: Client, log: NodeLog) -> None:
    thread = await client.thread()
    run = await client.stream(thread, "walk", **LONG, log=log.path)
    await log.wait_for("start")
    answer = await client.cancel(thread, run.run_id)
    assert (answer.status_code, answer.content) == (202, b"")
    assert await run.ended(within=10) == "interrupted"
    assert "error" not in run.names
    record = await client.thread_record(thread)
    assert (record["status"], record["error"]["error"]) == ("interrupted", "UserInterrupt")
    assert (await client.state(thread))["next"] == ["step"]


async def test_cancel_with_wait_returns_when_the_graph_has_stopped(
    client: Client, log: NodeLog, record_property: Callable[[str, object], None]
) -> None:
    lags = []
    for number in range(10):
        thread = await client.thread()
        tag = f"r{number}"
        run = await client.create(thread, "walk", left=100, delay=5, tag=tag, log=log.path)
        await log.wait_for("start", tag)
        answer = await client.cancel(thread, run, wait=True)
        now = time.time()
        assert (answer.status_code, answer.json()) == (200, {})
        assert answer.headers["content-location"] == f"/threads/{thread}/runs/{run}"
        [stopped] = log.times("stop", tag)
        assert stopped <= now
        lags.append(now - stopped)
        assert await client.status(thread, run) == "interrupted"
    record_property("stop_to_answer_ms_p50", median(lags))
    print("stop of the graph to the answer of cancel?wait=1, p50 ms:", median(lags))  # noqa: T201


async def test_half_of_all_cancels_end_their_run_within_5_ms(
    client: Client, log: NodeLog, record_property: Callable[[str, object], None]
) -> None:
    times = []
    for number in range(30):
        thread = await client.thread()
        tag = f"r{number}"
        run = await client.stream(thread, "walk", left=9, delay=5, tag=tag, log=log.path)
        await log.wait_for("start", tag)
        begun = time.perf_counter()
        await client.cancel(thread, run.run_id)
        assert await run.ended() == "interrupted"
        times.append(time.perf_counter() - begun)
    record_property("cancel_to_end_ms_p50", median(times))
    print("POST cancel to `end`, p50 / max ms:", median(times), round(max(times) * 1e3, 1))  # noqa: T201
    assert statistics.median(times) < 5


async def test_a_pending_run_is_cancelled_at_once(client: Client, log: NodeLog) -> None:
    thread = await client.thread()
    first = await client.create(thread, "walk", **LONG, log=log.path)
    await log.wait_for("start")
    queued = await client.stream(thread, "walk", tag="b", log=log.path)
    answer = await client.cancel(thread, queued.run_id, wait=True)
    assert answer.status_code == 200
    assert await queued.ended(within=10) == "interrupted"
    assert queued.names == ["end"]
    assert await client.status(thread, first) == "running"

    later = await client.create(thread, "walk", tag="b", log=log.path, after_seconds=600)
    assert (await client.cancel(thread, later, action="rollback")).status_code == 202
    assert await client.status(thread, later) == "gone"
    await client.cancel(thread, first, wait=True)
    assert not log.times("start", "b")
    assert (await client.thread_record(thread))["status"] == "interrupted"


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_an_ended_or_unknown_run_is_404(client: Client, action: str) -> None:
    thread = await client.thread()
    await client.wait(thread, "walk", left=1)
    [run] = (await client.http.get(f"/threads/{thread}/runs")).json()
    answer = await client.cancel(thread, run["run_id"], action=action)
    assert answer.status_code == 404
    assert "No matching runs to cancel." in answer.json()["detail"]
    answer = await client.cancel(thread, str(uuid.uuid4()), action=action, wait=True)
    assert (answer.status_code, answer.json()) == (404, {"detail": "No runs found to cancel."})
    assert (await client.cancel(thread, run["run_id"], action="stop")).status_code == 422


async def test_the_first_of_many_cancels_decides_the_action(client: Client, log: NodeLog) -> None:
    """Ten cancels at once, with and without wait: the first action counts, and all get a response."""
    thread = await client.thread()
    run = await client.stream(thread, "walk", **LONG, log=log.path)
    await log.wait_for("stop")
    first = await client.cancel(thread, run.run_id)
    answers = await asyncio.gather(
        *(client.cancel(thread, run.run_id, wait=bool(n % 2), action="rollback") for n in range(10))
    )
    assert first.status_code == 202
    assert {answer.status_code for answer in answers} <= {200, 202, 404}
    assert await run.ended() == "interrupted"
    assert await client.status(thread, run.run_id) == "interrupted"
    assert await client.items(thread)


async def test_runs_are_cancelled_by_status(client: Client, log: NodeLog) -> None:
    thread, other = await client.thread(), await client.thread()
    running = [await client.create(t, "walk", **LONG, log=log.path) for t in (thread, other)]
    await log.wait_for("start", times=2)
    queued = await client.create(thread, "walk", tag="b")
    answer = await client.http.post("/runs/cancel", json={"status": "pending"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert await client.status(thread, queued) == "interrupted"
    assert await client.status(thread, running[0]) == "running"
    answer = await client.http.post("/runs/cancel?action=rollback", json={"status": "all"})
    assert answer.status_code == 204
    for t, run in zip((thread, other), running, strict=True):
        await client.reaches(t, run, "gone")
    answer = await client.http.post("/runs/cancel", json={"status": "all"})
    assert (answer.status_code, answer.json()) == (404, {"detail": "No runs found to cancel."})


async def test_some_runs_of_a_thread_are_cancelled(client: Client, log: NodeLog) -> None:
    thread = await client.thread()
    runs = [await client.create(thread, "walk", **LONG, tag=tag, log=log.path) for tag in "abc"]
    await log.wait_for("start", "a")
    body = {"thread_id": thread, "run_ids": [runs[0], runs[2], str(uuid.uuid4())]}
    assert (await client.http.post("/runs/cancel", json=body)).status_code == 204
    await client.reaches(thread, runs[0], "interrupted")
    await client.reaches(thread, runs[2], "interrupted")
    await log.wait_for("start", "b")
    await client.cancel(thread, runs[1], wait=True)
    for wrong in (
        {"status": "all", **body},
        {"thread_id": thread},
        {"run_ids": runs},
        {"thread_id": thread, "run_ids": []},
        {"thread_id": thread, "run_ids": ["x"]},
        {"status": "success"},
        {},
    ):
        assert (await client.http.post("/runs/cancel", json=wrong)).status_code == 422, wrong


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
@pytest.mark.parametrize("graph", STUBBORN)
async def test_a_run_ends_though_its_graph_does_not_stop(
    client: Client, redis: Redis, log: NodeLog, graph: str, action: str
) -> None:
    thread = await client.thread()
    run = await client.stream(
        thread, graph, delay=4, log=log.path, stream_mode=["values", "custom"]
    )
    await log.wait_for("start")
    begun = time.monotonic()
    assert (await client.cancel(thread, run.run_id, wait=True, action=action)).status_code == 200
    assert time.monotonic() - begun < MAX_STOP_SECONDS
    assert await run.ended(within=10) == "interrupted"
    assert not log.times("late")
    before = await client.state(thread), await events(redis, thread, run.run_id)
    await log.wait_for("late")
    assert await client.wait(await client.thread(), "walk", left=3)  # time for its late writes
    after = await client.state(thread), await events(redis, thread, run.run_id)
    assert after == before
    assert "late" not in str(after)
    assert await client.status(thread, run.run_id) == (
        "interrupted" if action == "interrupt" else "gone"
    )
    if action == "rollback":
        assert before[0]["values"] == {}


async def events(redis: Redis, thread: str, run: str) -> list[object]:
    entries: list[object] = await redis.xrange(keys.events(thread, run))
    return entries


async def test_the_next_run_starts_though_the_graph_does_not_stop(
    client: Client, log: NodeLog
) -> None:
    thread = await client.thread()
    await client.create(thread, "stubborn", delay=4, log=log.path)
    await log.wait_for("start")
    begun = time.monotonic()
    await client.wait(thread, "walk", tag="b", multitask_strategy="rollback")
    assert time.monotonic() - begun < MAX_STOP_SECONDS + 0.5
    await log.wait_for("late")
    assert await client.items(thread) == ["b1"]


async def test_a_cancel_survives_a_worker_crash(
    client: Client, private_queue: Callable[[str], PrivateQueue], log: NodeLog
) -> None:
    """The worker is frozen (SIGSTOP), so that it can't read the cancel; then it dies."""
    queue = private_queue("walk")
    first = queue.worker().wait_ready()
    thread = await client.thread()
    run = await client.stream(thread, queue.graph, **LONG, log=log.path)
    await log.wait_for("stop")
    first.send(signal.SIGSTOP)
    assert (await client.cancel(thread, run.run_id)).status_code == 202
    first.kill()
    steps = len(log.times("start"))
    queue.worker().wait_ready()
    assert await run.ended(within=10) == "interrupted"
    assert await client.status(thread, run.run_id) == "interrupted"
    assert len(log.times("start")) == steps  # the run was not executed again
    assert (await client.cancel(thread, run.run_id)).status_code == 404


async def test_cancel_and_finish_have_one_winner(
    client: Client, record_property: Callable[[str, object], None]
) -> None:
    """Sixty runs of about 10 ms, each cancelled a little later than the one before."""
    seen: Counter[str] = Counter()

    async def compete(number: int) -> None:
        thread = await client.thread()
        run = await client.stream(thread, "walk", left=2, delay=0.003)
        for _ in range(number % 8):
            await client.status(thread, run.run_id)
        answer = await client.cancel(thread, run.run_id)
        status = await run.ended()
        assert status == {202: "interrupted", 404: "success"}[answer.status_code]
        assert await client.status(thread, run.run_id) == status
        seen[status] += 1

    for start in range(0, 60, 3):
        await asyncio.gather(*(compete(start + n) for n in range(3)))
    record_property("winners", dict(seen))
    print("cancel against finish:", dict(seen))  # noqa: T201
    assert seen.total() == 60


async def test_a_run_over_the_time_limit_ends_as_timeout(
    client: Client, private_queue: Callable[[str], PrivateQueue], log: NodeLog
) -> None:
    queue = private_queue("walk")
    queue.worker(BG_JOB_TIMEOUT_SECS="0.4").wait_ready()
    thread = await client.thread()
    run = await client.stream(thread, queue.graph, **LONG, log=log.path)
    assert await run.ended(within=10) == "timeout"
    assert run.names[-2:] == ["error", "end"]
    error = run.events[-2][1]
    assert error["error"] == "TimeoutError"
    assert error["message"].startswith("The run took longer than 0.4 s, the limit of this server")
    assert await client.status(thread, run.run_id) == "timeout"
    record = await client.thread_record(thread)
    assert (record["status"], record["error"]) == ("error", error)
    assert await client.wait(thread, queue.graph, **LONG) == {"__error__": error}
    await until(lambda: len(log.times("start")) == len(log.times("stop")))
