"""The four multitask strategies on a running system."""

import asyncio
import uuid
from collections.abc import Callable

import pytest

from e2e.strategies.client import Client, NodeLog, StreamedResponse
from e2e.strategies.conftest import PrivateQueue
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import Client as Redis

BUSY_THREAD = (
    "Thread is already running a task. Wait for it to finish or choose a different multitask "
    "strategy."
)
HOW = ["runs", "runs/stream", "runs/wait"]


async def running(client: Client, thread: str, log: NodeLog, **more: object) -> StreamedResponse:
    """Starts a long run. Returns when the run has done one step."""
    first = await client.stream(thread, "walk", left=100, delay=0.1, tag="a", log=log.path, **more)
    await log.wait_for("stop", "a")
    return first


async def second(client: Client, thread: str, how: str, log: NodeLog, strategy: str) -> str:
    """Starts a second run by one of three routes. Returns its id."""
    body = client.body("walk", left=2, tag="b", log=log.path, multitask_strategy=strategy)
    answer = await client.follow("POST", f"/threads/{thread}/{how}", body)
    assert answer.status == 200, answer.text
    return answer.run_id


@pytest.fixture(params=["kept", "stateless"])
async def thread(client: Client, request: pytest.FixtureRequest) -> str:
    """A thread created by a request, and one created by a stateless run."""
    if request.param == "kept":
        return await client.thread()
    body = client.body("walk", left=0, tag="s", on_completion="keep")
    run = (await client.http.post("/runs", json=body)).json()
    await client.reaches(run["thread_id"], run["run_id"], "success")
    return str(run["thread_id"])


def after(thread_items: list[str]) -> list[str]:
    """Returns the items without those of the stateless run that created the thread."""
    return [item for item in thread_items if not item.startswith("s")]


@pytest.mark.parametrize("how", HOW)
async def test_reject_returns_409_and_the_active_run_continues(
    client: Client, thread: str, log: NodeLog, how: str
) -> None:
    first = await running(client, thread, log)
    body = client.body("walk", multitask_strategy="reject")
    answer = await client.http.post(f"/threads/{thread}/{how}", json=body)
    assert (answer.status_code, answer.json()) == (409, {"detail": BUSY_THREAD})
    await log.wait_for("stop", "a", times=len(log.times("stop", "a")) + 1)  # it continues
    assert await client.status(thread, first.run_id) == "running"
    listed = (await client.http.get(f"/threads/{thread}/runs")).json()
    assert listed[0]["run_id"] == first.run_id
    await client.cancel(thread, first.run_id)
    assert await first.ended() == "interrupted"
    assert await client.wait(thread, "walk", multitask_strategy="reject", tag="c")


@pytest.mark.parametrize("how", HOW)
async def test_interrupt_ends_the_active_run_and_keeps_its_checkpoints(
    client: Client, thread: str, log: NodeLog, how: str
) -> None:
    first = await running(client, thread, log)
    run = await second(client, thread, how, log, "interrupt")
    assert await first.ended(within=10) == "interrupted"
    assert "error" not in first.names
    assert await client.reaches(thread, run, "success") == "success"
    assert await client.status(thread, first.run_id) == "interrupted"
    items = after(await client.items(thread))
    assert items[0] == "a100"  # its checkpoints stay
    assert items[-2:] == ["b2", "b1"]
    assert min(log.times("start", "b")) >= max(log.times("stop", "a"))
    assert (await client.thread_record(thread))["status"] == "idle"


@pytest.mark.parametrize("how", HOW)
async def test_rollback_removes_the_active_run_and_its_checkpoints(
    client: Client, thread: str, log: NodeLog, how: str
) -> None:
    first = await running(client, thread, log)
    run = await second(client, thread, how, log, "rollback")
    assert await first.ended(within=10) == "interrupted"
    assert await client.reaches(thread, run, "success") == "success"
    assert await client.status(thread, first.run_id) == "gone"
    assert after(await client.items(thread)) == ["b2", "b1"]
    listed = (await client.http.get(f"/threads/{thread}/runs")).json()
    assert first.run_id not in [r["run_id"] for r in listed]
    assert min(log.times("start", "b")) >= max(log.times("stop", "a"))
    assert (await client.thread_record(thread))["status"] == "idle"


async def test_enqueued_runs_execute_in_order(client: Client, thread: str, log: NodeLog) -> None:
    """Eight runs over two workers, created by all routes: each starts after the end of the one before."""
    first = await client.stream(thread, "walk", left=4, delay=0.05, tag="a", log=log.path)
    tags = [chr(ord("b") + number) for number in range(7)]
    answers = []
    for number, tag in enumerate(tags):
        body = client.body("walk", left=2, delay=0.01, tag=tag, log=log.path)
        path = f"/threads/{thread}/{HOW[number % 3]}"
        answers.append(await client.follow("POST", path, body))
    for answer in answers:
        await client.reaches(thread, answer.run_id, "success")
    assert await first.ended() == "success"
    expected = ["a4", "a3", "a2", "a1"] + [f"{tag}{left}" for tag in tags for left in (2, 1)]
    assert after(await client.items(thread)) == expected
    for before, then in zip(["a", *tags], tags, strict=False):
        assert max(log.times("stop", before)) <= min(log.times("start", then))


async def test_a_queued_stream_sends_headers_and_keepalives_at_once(
    client: Client, log: NodeLog
) -> None:
    thread = await client.thread()
    first = await running(client, thread, log)
    queued = await client.stream(thread, "walk", left=1, tag="b")  # returns with the headers
    body = client.body("walk", left=1, tag="c")
    waits = await client.follow("POST", f"/threads/{thread}/runs/wait", body)
    assert await client.status(thread, queued.run_id) == "pending"
    await until(lambda: queued.text.count(": heartbeat\r\n") > 1 and len(waits.text) > 1)
    assert queued.events == []
    assert not first.over
    await client.cancel(thread, first.run_id)
    assert await queued.ended() == "success"
    assert (await waits.answer())["items"][-1] == "c1"


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", "interrupted"), ("rollback", "gone")])
async def test_waiting_and_deferred_runs_are_displaced_too(
    client: Client, log: NodeLog, strategy: str, left: str
) -> None:
    """Their followers get the end at once. Only the newest run and the run after it are executed."""
    thread = await client.thread()
    await client.wait(thread, "walk", tag="o")
    first = await running(client, thread, log)
    queued = await client.stream(thread, "walk", tag="b", log=log.path)
    body = client.body("walk", tag="c", log=log.path)
    waits = await client.follow("POST", f"/threads/{thread}/runs/wait", body)
    later = await client.create(thread, "walk", tag="d", log=log.path, after_seconds=1)
    joins = await client.follow("GET", f"/threads/{thread}/runs/{later}/join")
    then = await client.create(thread, "walk", tag="u", log=log.path, multitask_strategy=strategy)
    after = await client.create(thread, "walk", tag="v", log=log.path)
    assert await queued.ended() == "interrupted"
    assert queued.names == ["end"]
    for answer in (waits, joins):  # they return the state, as for a cancelled run
        assert (await answer.answer())["items"][0] == "o1"
    assert await first.ended(within=10) == "interrupted"
    for run in (then, after):
        await client.reaches(thread, run, "success")
    for run in (first.run_id, queued.run_id, later):
        assert await client.status(thread, run) == left
    first_items = ["o1"] if strategy == "rollback" else ["o1", "a100"]
    items = await client.items(thread)
    assert (items[: len(first_items)], items[-2:]) == (first_items, ["u1", "v1"])
    assert "b1" not in items
    [at] = log.times("stop", "v")
    assert at > log.times("stop", "u")[0]
    for tag in "bcd":
        assert not log.times("start", tag)


@pytest.mark.parametrize("how", HOW)
async def test_a_deferred_run_makes_reject_fail(client: Client, how: str) -> None:
    thread = await client.thread()
    later = await client.create(thread, "walk", after_seconds=600)
    body = client.body("walk", multitask_strategy="reject")
    answer = await client.http.post(f"/threads/{thread}/{how}", json=body)
    assert (answer.status_code, answer.json()) == (409, {"detail": BUSY_THREAD})
    await client.cancel(thread, later)
    assert await client.wait(thread, "walk", multitask_strategy="reject", tag="c")


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_of_three_quick_messages_the_newest_is_answered(
    client: Client, log: NodeLog, strategy: str
) -> None:
    """No older run starts after the newest."""
    thread = await client.thread()
    first = await client.stream(thread, "walk", left=9, delay=0.1, tag="a", log=log.path)
    rest = [
        await client.stream(
            thread, "walk", left=left, delay=0.1, tag=tag, log=log.path, multitask_strategy=strategy
        )
        for tag, left in (("b", 9), ("c", 2))
    ]
    followed = [first, *rest]
    ends = [await each.ended(within=10) for each in followed]
    assert ends == ["interrupted", "interrupted", "success"]
    lost = "gone" if strategy == "rollback" else "interrupted"
    statuses = [await client.status(thread, each.run_id) for each in followed]
    assert statuses == [lost, lost, "success"]
    assert (await client.items(thread))[-2:] == ["c2", "c1"]
    record = await client.thread_record(thread)
    assert (record["status"], record["values"]["items"][-2:]) == ("idle", ["c2", "c1"])
    assert [
        r
        for r in (await client.http.get(f"/threads/{thread}/runs")).json()
        if r["status"] == "pending"
    ] == []


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_two_displacing_runs_at_once_leave_the_thread_idle(
    client: Client, log: NodeLog, strategy: str
) -> None:
    thread = await client.thread()
    first = await running(client, thread, log)
    two = await asyncio.gather(
        *(client.create(thread, "walk", tag=t, multitask_strategy=strategy) for t in "bc")
    )
    assert await first.ended(within=10) == "interrupted"
    ends = [await client.reaches(thread, run, "success", "interrupted", "gone") for run in two]
    # The later run displaced the earlier one, unless that had ended by then.
    assert "success" in ends
    items = [item for item in await client.items(thread) if not item.startswith("a")]
    assert len(items) >= ends.count("success")
    assert (await client.thread_record(thread))["status"] == "idle"


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", "interrupted"), ("rollback", "gone")])
async def test_a_pending_run_without_a_worker_is_displaced(
    client: Client,
    private_queue: Callable[[str], PrivateQueue],
    redis: Redis,
    strategy: str,
    left: str,
) -> None:
    queue = private_queue("walk")
    worker = queue.worker().wait_ready()
    worker.stop()
    thread = await client.thread()
    first = await client.stream(thread, queue.graph, tag="a")
    assert await client.status(thread, first.run_id) == "pending"
    then = await client.create(thread, queue.graph, tag="b", multitask_strategy=strategy)
    assert await first.ended(within=10) == "interrupted"
    assert first.names == ["end"]
    assert await client.status(thread, first.run_id) == left
    queue.worker().wait_ready()
    await client.reaches(thread, then, "success")
    assert await client.items(thread) == ["b1"]


@pytest.mark.parametrize(
    ("strategy", "left", "outside"),
    # The items before the second run; its subgraph repeats all its input items.
    [("interrupt", "interrupted", ["before"]), ("rollback", "gone", [])],
)
async def test_a_run_whose_worker_died_is_displaced(
    client: Client,
    private_queue: Callable[[str], PrivateQueue],
    redis: Redis,
    log: NodeLog,
    strategy: str,
    left: str,
    outside: list[str],
) -> None:
    queue = private_queue("nested")
    worker, other = queue.worker(), queue.worker()
    worker.wait_ready(), other.wait_ready()
    thread = await client.thread()
    first = await client.stream(thread, queue.graph, left=50, delay=0.1, tag="a", log=log.path)
    await log.wait_for("stop", "a", times=2)
    control = await redis.hget(keys.run(thread, first.run_id), "control")  # type: ignore[misc]
    (worker if b"-%d-" % worker.pid in control else other).kill()
    then = await client.create(
        thread, queue.graph, left=1, tag="b", log=log.path, multitask_strategy=strategy
    )
    assert await first.ended(within=10) == "interrupted"
    await client.reaches(thread, then, "success")
    assert await client.status(thread, first.run_id) == left
    assert first.names.count("metadata") == 1  # it was not executed again
    subgraph_input = [*outside, "before"]
    assert await client.items(thread) == [*subgraph_input, *subgraph_input, "b1", "after"]


async def test_an_unknown_strategy_is_refused(client: Client) -> None:
    thread = await client.thread()
    body = {"assistant_id": "walk", "multitask_strategy": "bogus"}
    answer = await client.http.post(f"/threads/{thread}/runs", json=body)
    assert answer.status_code == 422
    assert "multitask_strategy" in answer.json()["detail"]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_displacing_run_creates_its_thread(client: Client, strategy: str) -> None:
    thread = str(uuid.uuid4())
    body = client.body("walk", tag="a", multitask_strategy=strategy) | {"if_not_exists": "create"}
    answer = await client.http.post(f"/threads/{thread}/runs/wait", json=body)
    assert answer.json()["items"] == ["a1"]
